"""`rnri bench convergence`: every solver at every budget, by two rulers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rnri_core.errors import RnriError
from typer.core import TyperCommand

from rnri.cli import options, screen, values
from rnri.cli.bench_report import report

SPECTRA_PICTURES = 4
DEFAULT_BUDGETS = ("1", "1.2", "1.5", "2", "3", "5", "10")
SPLITS: tuple[Literal["heldout", "tuning"], ...] = ("heldout", "tuning")

Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where measurements and report go.")]


class Lists(TyperCommand):
    """A command without arguments, whose options that may be repeated also take several values: --steps 4 20."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        lists = {name for each in self.params if getattr(each, "multiple", False) for name in each.opts}
        spread: list[str] = []
        for argument in args:
            last = spread[-2] if len(spread) > 1 else ""
            spread += [last, argument] if last in lists and not argument.startswith("-") else [argument]
        return super().parse_args(ctx, spread)


def convergence(
    output: Folder,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Models or folders.", show_default="all embedded ones")
    ] = None,
    steps: Annotated[list[str] | None, typer.Option(metavar="N…", help="Steps.", show_default="4 20")] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N…",
            help="Network calls per step of an inversion, on average; 1.5 for 4 steps are 6 calls.",
            show_default="1 1.2 1.5 2 3 5 10",
        ),
    ] = None,
    solver: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:FIELD=VALUE,…]…", help="Presets, solvers, edit-friendly, edict, bdia.", show_default="all"
        ),
    ] = None,
    way: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME…",
            help="What surrounds the solver: published, informed (predictor, calls by the spectrum), noised (the same "
            "from a start in distribution).",
            show_default="all",
        ),
    ] = None,
    residual_correction: options.ResidualCorrection = None,
    limit: Annotated[str, typer.Option(metavar="N", help="How many pictures.")] = "100",
    guidance: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER…", help="How hard edits follow their prompt.", show_default=options.OWN),
    ] = None,
    tuned: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where --split tuning found each method's best guidance: use that."),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Whose pictures: heldout, or tuning to choose settings by.")
    ] = "heldout",
    spectra: Annotated[
        str, typer.Option(metavar="N", help="How many pictures to measure the equations' Jacobians at.")
    ] = str(SPECTRA_PICTURES),
    batch: Annotated[str, typer.Option(metavar="N", help="Pictures inverted at once.")] = "1",
    seed: options.Seed = None,
    device: options.Device = "auto",
) -> None:
    """Measure solvers at equal numbers of network calls: how near they come, and how well edits turn out.

    Goes on where it was stopped, and adds to what is there. Of what a budget cannot buy an iteration for every step,
    nothing is measured.
    """
    pictures, jacobians = values.whole("--limit", limit, 1) or 1, values.whole("--spectra", spectra, 0) or 0
    together, first = values.whole("--batch", batch, 1) or 1, values.seed(seed) or 0
    counts = [values.steps(text) or 1 for text in steps or ("4", "20")]
    budgets = [values.real("--budget", text, positive=True) or 1.0 for text in budget or DEFAULT_BUDGETS]
    scales = [values.guidance(text) or 0.0 for text in guidance or ()]
    source = next((name for name in SPLITS if name == split), None)
    if source is None:
        raise RnriError(f"--split {split!r} is not known", hint=f"use {' or '.join(SPLITS)}")
    if tuned and source == "tuning":
        raise RnriError("--tuned is for what is reported", hint="leave it out, or use --split heldout")
    if output.exists() and not output.is_dir():
        raise RnriError(f"{output} is a file", hint="give a directory")

    from rnri_core.inversion.presets import INVERTERS, PRESETS
    from rnri_core.solvers import SOLVERS

    from rnri import models
    from rnri.evaluation import statistics
    from rnri.evaluation.records import Run
    from rnri.evaluation.solvers import guidances
    from rnri.evaluation.solvers.convergence import CONVERGENCE, WAYS, Convergence, grid
    from rnri.evaluation.solvers.spectra import SPECTRA, Spectra, SpectrumSetting

    statistics.require()
    chosen = guidances.read(tuned) if tuned else []
    with screen.progress() as tell:
        tell("loading")
        loaded = {name: models.load(name, device=device) for name in model or list(models.EMBEDDED)}
        measure = Convergence(loaded, max(pictures, jacobians))
        wanted = grid(
            loaded,
            steps=counts,
            budgets=budgets,
            solvers=solver or [*PRESETS, *SOLVERS, *INVERTERS],
            ways=way or list(WAYS),
            correct=bool(residual_correction),
            guidances=scales,
            tuned=guidances.tuned_guidance(chosen),
            split=source,
            seed=first,
        )
        affordable = [each for each in wanted if measure.affordable(each)]
    about = Run.of(next(iter(loaded.values())).device)
    output.mkdir(parents=True, exist_ok=True)
    if chosen:
        guidances.write(output, chosen)
    with screen.bar("measurement") as done:
        new = CONVERGENCE.extend(output, about, range(pictures), affordable, measure, batch=together, progress=done)
    if jacobians:
        with screen.bar("spectrum") as done:
            SPECTRA.extend(
                output,
                about,
                range(jacobians),
                [
                    SpectrumSetting(name, each.fingerprint, count, products=20, seed=first)
                    for name, each in loaded.items()
                    for count in counts
                ],
                Spectra(measure),
                progress=done,
            )
    screen.say(f"{new} new measurements; {len(wanted) - len(affordable)} of {len(wanted)} settings cannot be afforded")
    report(output)
