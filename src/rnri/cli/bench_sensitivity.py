"""`rnri bench sensitivity`: inversion under conditions other than those it is made for."""

from __future__ import annotations

from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, outputs, screen
from rnri.cli.bench_report import Failures

LINES = "sensitivity.jsonl"


def sensitivity(
    output: options.Folder,
    models: options.Models = None,
    steps: options.StepsList = None,
    inverters: Annotated[
        list[str] | None, typer.Option(*options.INVERTER, help="Presets or solvers.", show_default="auto faithful gnri")
    ] = None,
    conditions: Annotated[
        list[str] | None, typer.Option("--condition", help="What differs.", show_default="all")
    ] = None,
    limit: options.Limit = 12,
    tol: Annotated[float, typer.Option(parser=options.positive, help="Residual at which an image stops.")] = 0.01,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Invert with a wrong prompt, without one, guided, in bfloat16, and photographs.

    The table shows residuals, values that are not finite, and whether every status is true. Presets run without noise
    maps, which would reconstruct any image. A stopped run is continued.
    """
    outputs.check_directory(output)

    import torch
    from rnri_core.inversion.presets import check

    from rnri.evaluation.records import environment, read, run
    from rnri.evaluation.solvers.convergence import Convergence
    from rnri.evaluation.solvers.sensitivity import CONDITIONS, HEADS, Sensitivity, SensitivityConfiguration, summary

    for name in conditions or ():
        if name not in CONDITIONS:
            raise RnriError(f"--condition {name!r} is not one of {', '.join(CONDITIONS)}")
    names = inverters or ["auto", "faithful", "gnri"]
    for name in names:
        check(name)
    failures = Failures()
    with screen.progress() as tell:
        tell("loading")
        loaded = options.load_all(models, device)
        coarse = options.load_all(models, device, dtype=torch.bfloat16)
        settings = [
            SensitivityConfiguration(name, each.fingerprint, count, inverter, condition, tol, seed)
            for name, each in loaded.items()
            for count in steps or (4, 20)
            for inverter in names
            for condition in CONDITIONS
            if not conditions or condition in conditions
        ]
        output.mkdir(parents=True, exist_ok=True)
        new = run(
            output / LINES,
            environment(next(iter(loaded.values())).device),
            range(limit),
            settings,
            Sensitivity(Convergence(loaded, limit), coarse),
            progress=lambda done, total: tell(f"measurement {done} of {total}"),
            failed=failures.add,
        )
    failures.check(new)
    screen.table(HEADS, summary(read(output / LINES)))
    failures.exit()
