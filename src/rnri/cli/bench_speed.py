"""`rnri bench speed`: seconds of each stage, and the network calls in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen

if TYPE_CHECKING:
    from rnri.evaluation.speed import SpeedReport

EMBEDDED = "embedded"


def speed(
    model: options.ModelOptions,
    architecture: Annotated[
        str, typer.Option("--architecture", "--arch", help="embedded, sd15, sdxl, sd3 or flux: a checkpoint of it.")
    ] = EMBEDDED,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Build it at full size: no download.")
    ] = False,
    inverters: Annotated[
        list[str] | None, typer.Option(*options.INVERTER, help="Inverters; repeat it.", show_default="auto, gnri")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps between noise and image.")] = 4,
    iterations: Annotated[int, typer.Option("--iterations", "--budget", min=1, help="Iterations of each step.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Timings of each stage.")] = 5,
    size: options.ResultSize = None,
    as_json: options.Json = False,
) -> None:
    """Time encoding, inversion, edit and decoding, and their share outside of networks.

    The first run of each stage is not counted. 'embed' is the prompt; 'edit' is sampling from the noise of the
    inversion, without guidance or controls.
    """
    from rnri.evaluation.speed import speed

    with screen.progress() as tell:
        tell("building the networks" if random_weights else "loading")
        name, built, condition = _built(model, architecture, random_weights=random_weights)
        if size and (size.width % built.multiple or size.height % built.multiple):
            shown = f"{size.width}x{size.height}"
            raise RnriError(f"--size {shown} does not suit {name}", hint=f"give multiples of {built.multiple}")
        report = speed(
            name,
            built,
            condition,
            solvers=inverters or ["auto", "gnri"],
            steps=steps,
            budget=iterations,
            size=(size.height, size.width) if size else None,
            repeats=repeats,
            progress=tell,
        )
    if as_json:
        screen.write(report.to_json())
    else:
        _show(report)


def _built(model: options.ModelOptions, architecture: str, *, random_weights: bool) -> tuple[str, Any, Any]:
    """Name, model and condition of what is timed: --architecture at its checkpoint or with random weights, or --model.

    Raises ``RnriError`` for an unknown architecture, and for random weights without one.
    """
    from rnri.evaluation.architectures import ARCHITECTURES

    named = model.name != options.MODEL
    if not named and architecture not in (EMBEDDED, *ARCHITECTURES):
        raise RnriError(f"--architecture {architecture!r} is not one of {', '.join((EMBEDDED, *ARCHITECTURES))}")
    if random_weights and (named or architecture == EMBEDDED):
        hint = f"use --architecture {' or '.join(ARCHITECTURES)}"
        raise RnriError("--random-weights needs an architecture", hint=hint)
    if random_weights:
        import torch

        from rnri import models

        chosen = ARCHITECTURES[architecture]
        place = models.find_device(model.device)
        return architecture, chosen.build(place, getattr(torch, model.dtype), model.loading), chosen.condition()
    if not named and architecture != EMBEDDED:
        model = replace(model, name=ARCHITECTURES[architecture].checkpoint)
    loaded = model.load()
    return model.name, loaded, loaded.embed(["a red ball on sand"])


def _show(report: SpeedReport) -> None:
    stages = []
    for each in report.stages:
        seconds = (f"{value:.4g}" for value in (each.seconds, each.fastest, each.slowest))
        overhead = "" if each.overhead is None else f"{100 * each.overhead:.1f}"
        stages.append((each.stage, each.solver or "", *seconds, str(each.calls or ""), overhead))
    screen.table(("stage", "solver", "seconds", "fastest", "slowest", "calls", "overhead %"), stages)
    rows = [
        ("model", f"{report.model}, {report.parameters / 1e6:.0f} M parameters, {report.dtype}"),
        ("call", f"{report.bare:.4g} s, {report.gflop:.4g} GFLOP, {report.gflop / report.bare / 1e3:.3g} TFLOP/s"),
    ]
    if report.floor is not None:
        rows.append(("floor", f"{report.floor:.3g} s for the first inversion and the edit, at the device's peak"))
    if report.peak_memory_mb is not None:
        rows.append(("memory", f"{report.peak_memory_mb:.0f} MB at most"))
    screen.pairs([*rows, ("device", report.environment.device)])
