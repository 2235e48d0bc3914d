"""`rnri bench speed`: seconds by stage, beside the network calls they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen, values
from rnri.cli.loading import Asked, loads_a_model

if TYPE_CHECKING:
    from rnri.evaluation.speed import SpeedReport

EMBEDDED = "embedded"


@loads_a_model
def speed(
    arch: Annotated[
        str, typer.Option(metavar="NAME", help="embedded, sd15, sdxl, sd3 or flux: a checkpoint of this architecture.")
    ] = EMBEDDED,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Any model instead of --arch.", show_default=False)
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Build --arch at full size with random weights: no download.")
    ] = False,
    solver: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:FIELD=VALUE,…]", help="Repeat it for several.", show_default="auto, gnri"),
    ] = None,
    steps: Annotated[str, typer.Option(metavar="N", help="Steps between noise and picture.")] = "4",
    budget: Annotated[str, typer.Option(metavar="N", help="Iterations per step.")] = "1",
    repeats: Annotated[str, typer.Option(metavar="N", help="How often each stage is timed.")] = "5",
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Size of the picture.", show_default=options.OWN)
    ] = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    *,
    loading: Asked,
) -> None:
    """Time encoding, inverting, editing and decoding, and what of it is not the network's.

    The first run of each stage is not counted. 'embed' is the prompt; 'edit' is sampling from the noise that was found,
    without guidance or controls.
    """
    count, iterations = values.steps(steps) or 1, values.whole("--budget", budget, 1) or 1
    times, wanted = values.whole("--repeats", repeats, 1) or 1, values.size("--size", size)

    from rnri import models
    from rnri.evaluation.architectures import ARCHITECTURES
    from rnri.evaluation.speed import speed as measure

    if model is None and arch not in (EMBEDDED, *ARCHITECTURES):
        raise RnriError(f"--arch {arch!r} is not known", hint=f"use {', '.join((EMBEDDED, *ARCHITECTURES))}")
    if random_weights and (model or arch == EMBEDDED):
        raise RnriError("--random-weights needs an architecture", hint=f"use --arch {' or '.join(ARCHITECTURES)}")
    told = loading.arguments()
    with screen.progress() as tell:
        tell("building the networks" if random_weights else "loading")
        name = model or (options.MODEL if arch == EMBEDDED else ARCHITECTURES[arch].checkpoint)
        if random_weights:
            name, place = arch, models.find_device(device)
            built = ARCHITECTURES[arch].build(place, told["dtype"], loading.how)
            condition = ARCHITECTURES[arch].condition()
        else:
            built = models.load(name, device=device, **told)
            condition = built.embed(["a red ball on sand"])
        if wanted and (wanted[0] % built.multiple or wanted[1] % built.multiple):
            raise RnriError(f"--size {size} does not suit {name}", hint=f"give multiples of {built.multiple}")
        report = measure(
            name,
            built,
            condition,
            solvers=solver or ["auto", "gnri"],
            steps=count,
            budget=iterations,
            size=(wanted[1], wanted[0]) if wanted else None,
            repeats=times,
            progress=tell,
        )
    if as_json:
        screen.say_exactly(report.to_json())
    else:
        _show(report)


def _show(report: SpeedReport) -> None:
    screen.table(
        ("stage", "solver", "seconds", "fastest", "slowest", "calls", "overhead %"),
        [
            (
                each.stage,
                each.solver or "",
                f"{each.seconds:.4g}",
                f"{each.fastest:.4g}",
                f"{each.slowest:.4g}",
                str(each.calls) if each.calls else "",
                "" if each.overhead is None else f"{100 * each.overhead:.1f}",
            )
            for each in report.stages
        ],
    )
    rows = [
        ("model", f"{report.model}, {report.parameters / 1e6:.0f} M parameters, {report.dtype}"),
        ("call", f"{report.bare:.4g} s, {report.gflop:.4g} GFLOP, {report.gflop / report.bare / 1e3:.3g} TFLOP/s"),
    ]
    if report.floor is not None:
        rows.append(("floor", f"{report.floor:.3g} s for the first inversion and the edit, at the device's peak"))
    if report.peak_memory_mb is not None:
        rows.append(("memory", f"{report.peak_memory_mb:.0f} MB at most"))
    screen.pairs([*rows, ("device", report.environment.device)])
