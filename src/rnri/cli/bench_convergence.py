"""`rnri bench convergence`: every inverter at equal numbers of network calls, by reconstruction and by edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, outputs, screen
from rnri.cli.bench_report import Failures, report
from rnri.cli.groups import option

if TYPE_CHECKING:
    from rnri.evaluation.records import Run
    from rnri.evaluation.solvers.convergence import Convergence, SolverSetting
    from rnri.models import Model

DEFAULT_CALLS = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class SolverOptions:
    """The grid that benchmarks of inverters have in common."""

    PANEL: ClassVar[str] = "Grid"

    output: Path = option(..., "Folder of measurements and report.", "--output", "-o", metavar="DIR")
    models: list[str] | None = option(None, "Models or folders.", "--model", show_default="all embedded ones")
    steps: list[int] | None = option(None, "Sampling steps.", min=1, show_default="4 20")
    inverters: list[str] | None = option(
        None, "Presets, solvers, edit-friendly, edict, bdia.", *options.INVERTER, show_default="all"
    )
    limit: int = option(100, "Number of images.", min=1)
    seed: int = option(0, "Seed of all noise.", min=0, max=options.MAX_SEED)
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps.", metavar="NAME")

    def load(self, **how: Any) -> dict[str, Model]:
        """The models, by name."""
        from rnri import models

        return {name: models.load(name, device=self.device, **how) for name in self.models or list(models.EMBEDDED)}


@dataclass(frozen=True, kw_only=True)
class GridOptions(SolverOptions):
    """Every value of one option with every value of the others."""

    calls: list[float] | None = option(
        None,
        "Network calls per step of an inversion, on average; 1.5 for 4 steps are 6 calls.",
        *("--calls", "--budget"),
        **{"parser": options.positive, "metavar": "NUMBER", "show_default": "1 1.2 1.5 2 3 5 10"},
    )
    schemes: list[str] | None = option(
        None,
        "Allotment of calls to steps, and initial guess: published (even, clean), informed (by the spectrum, "
        "predicted), noised (by the spectrum, noised-predicted).",
        *("--scheme", "--way"),
        show_default="all",
    )
    noise_maps: bool = option(False, "Store noise maps, for one of the calls of each step.", *options.MAPS)
    guidance: list[float] | None = option(
        None, "Guidance scales of edits.", min=0.0, max=options.MAX_GUIDANCE, show_default=options.OWN
    )
    tuned: Path | None = option(
        None, "Folder of a run with --split tuning, whose best guidance is used.", metavar="DIR"
    )
    split: Literal["heldout", "tuning"] = option("heldout", "Scenes: held out, or to choose settings by.")

    def settings(
        self, models: Mapping[str, Model], tuned: Callable[[SolverSetting], float | None]
    ) -> list[SolverSetting]:
        """One for each point of the grid."""
        from rnri_core.inversion.presets import INVERTERS, PRESETS
        from rnri_core.solvers import SOLVERS

        from rnri.evaluation.solvers.convergence import WAYS, grid

        return grid(
            models,
            steps=self.steps or (4, 20),
            budgets=self.calls or DEFAULT_CALLS,
            solvers=self.inverters or [*PRESETS, *SOLVERS, *INVERTERS],
            ways=self.schemes or list(WAYS),
            correct=self.noise_maps,
            guidances=self.guidance or (),
            tuned=tuned,
            split=self.split,
            seed=self.seed,
        )


def convergence(
    grid: GridOptions,
    spectra: Annotated[int, typer.Option(min=0, help="Images at which Jacobians are measured.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Images inverted at once.")] = 1,
) -> None:
    """Measure inverters at equal numbers of network calls: inversion error, reconstruction and edits.

    A stopped run is continued, and new measurements are added. Settings whose calls do not buy an iteration for every
    step are left out.
    """
    if grid.tuned and grid.split == "tuning":
        raise RnriError("--tuned needs held-out scenes", hint="leave it out, or use --split heldout")
    outputs.check_directory(grid.output)

    from rnri.evaluation import statistics
    from rnri.evaluation.records import Run
    from rnri.evaluation.solvers import guidances
    from rnri.evaluation.solvers.convergence import CONVERGENCE, Convergence

    statistics.require()
    chosen = guidances.read(grid.tuned) if grid.tuned else []
    with screen.progress() as tell:
        tell("loading")
        models = grid.load()
        measure = Convergence(models, max(grid.limit, spectra))
        wanted = grid.settings(models, guidances.tuned_guidance(chosen))
        affordable = [each for each in wanted if measure.affordable(each)]
    about = Run.of(next(iter(models.values())).device)
    grid.output.mkdir(parents=True, exist_ok=True)
    if chosen:
        guidances.write(grid.output, chosen)
    failures = Failures()
    with screen.bar("measurement") as done:
        new = CONVERGENCE.extend(
            grid.output,
            about,
            range(grid.limit),
            affordable,
            measure,
            batch=batch,
            progress=done,
            failed=failures.add,
        )
    failures.check(new)
    if spectra:
        _spectra(grid, about, range(spectra), measure)
    screen.show(f"{new} new measurements; {len(wanted) - len(affordable)} of {len(wanted)} settings have too few calls")
    report(grid.output)
    failures.exit()


def _spectra(grid: GridOptions, about: Run, images: range, measure: Convergence) -> None:
    """Measure the Jacobians of the fixed-point equations."""
    from rnri.evaluation.solvers.spectra import SPECTRA, Spectra, SpectrumSetting

    settings = [
        SpectrumSetting(name, each.fingerprint, count, products=20, seed=grid.seed)
        for name, each in measure.models.items()
        for count in grid.steps or (4, 20)
    ]
    with screen.bar("spectrum") as done:
        SPECTRA.extend(grid.output, about, images, settings, Spectra(measure), progress=done)
