"""`rnri bench sensitivity`: inversion under conditions other than those it is made for."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core.errors import RnriError

from rnri.cli import options, outputs, screen
from rnri.cli.bench_convergence import SolverOptions
from rnri.cli.bench_report import Failures
from rnri.cli.groups import option


@dataclass(frozen=True, kw_only=True)
class SensitivityOptions(SolverOptions):
    """The grid, and what differs."""

    inverters: list[str] | None = option(
        None, "Presets or solvers.", *options.INVERTER, show_default="auto faithful gnri"
    )
    limit: int = option(12, "Number of images.", min=1)
    conditions: list[str] | None = option(
        None, "Conditions of the inversion.", "--condition", show_default="every condition"
    )
    tol: float = option(0.01, "Residual at which an image stops.", parser=options.positive, metavar="NUMBER")


def sensitivity(grid: SensitivityOptions) -> None:
    """Invert with a wrong prompt, without one, guided, in bfloat16, and photographs.

    The table shows residuals, values that are not finite, and whether every status is true. Presets run without noise
    maps, which would reconstruct any image. A stopped run is continued.
    """
    outputs.check_directory(grid.output)

    import torch
    from rnri_core.inversion.presets import check

    from rnri.evaluation.records import Run
    from rnri.evaluation.solvers.convergence import Convergence
    from rnri.evaluation.solvers.sensitivity import (
        CONDITIONS,
        HEADS,
        SENSITIVITY,
        Sensitivity,
        SensitivitySetting,
        summary,
    )

    for name in grid.conditions or ():
        if name not in CONDITIONS:
            raise RnriError(f"--condition {name!r} is not one of {', '.join(CONDITIONS)}")
    names = grid.inverters or ["auto", "faithful", "gnri"]
    for name in names:
        check(name)
    failures = Failures()
    with screen.progress() as tell:
        tell("loading")
        loaded = grid.load()
        coarse = grid.load(dtype=torch.bfloat16)
        settings = [
            SensitivitySetting(name, each.fingerprint, count, inverter, condition, grid.tol, grid.seed)
            for name, each in loaded.items()
            for count in grid.steps or (4, 20)
            for inverter in names
            for condition in CONDITIONS
            if not grid.conditions or condition in grid.conditions
        ]
        grid.output.mkdir(parents=True, exist_ok=True)
        new = SENSITIVITY.extend(
            grid.output,
            Run.of(next(iter(loaded.values())).device),
            range(grid.limit),
            settings,
            Sensitivity(Convergence(loaded, grid.limit), coarse),
            progress=lambda done, total: tell(f"measurement {done} of {total}"),
            failed=failures.add,
        )
    failures.check(new)
    screen.table(HEADS, summary(SENSITIVITY.read(grid.output)))
    failures.exit()
