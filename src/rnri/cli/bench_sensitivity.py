"""`rnri bench sensitivity`: what inversion does when something is not as it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen, values


def sensitivity(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where measurements go.")],
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Models or folders.", show_default="all embedded ones")
    ] = None,
    steps: Annotated[list[str] | None, typer.Option(metavar="N…", help="Steps.", show_default="4 20")] = None,
    solver: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="Presets or solvers.", show_default="auto faithful gnri")
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(metavar="NAME…", help="What is spoilt.", show_default="every condition")
    ] = None,
    limit: Annotated[str, typer.Option(metavar="N", help="How many pictures.")] = "12",
    tol: Annotated[str, typer.Option(metavar="NUMBER", help="Residual at which a step is good enough.")] = "0.01",
    seed: options.Seed = None,
    device: options.Device = "auto",
) -> None:
    """Invert with a wrong prompt, without one, guided, in bfloat16, and pictures of another world.

    Told is how near it comes, whether anything is not finite, and whether every status is true. Presets go without
    their corrections, which would give any picture back. Goes on where it was stopped.
    """
    pictures, first = values.whole("--limit", limit, 1) or 1, values.seed(seed) or 0
    enough = values.real("--tol", tol, positive=True) or 0.01
    counts = [values.steps(text) or 1 for text in steps or ("4", "20")]
    if output.exists() and not output.is_dir():
        raise RnriError(f"{output} is a file", hint="give a directory")

    import torch
    from rnri_core.inversion.presets import check

    from rnri import models
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

    wanted = [each for each in CONDITIONS if not condition or each in condition]
    for name in condition or ():
        if name not in CONDITIONS:
            raise RnriError(f"--condition {name!r} is not known", hint=f"use {', '.join(CONDITIONS)}")
    solvers = solver or ["auto", "faithful", "gnri"]
    for name in solvers:
        check(name)
    with screen.progress() as tell:
        tell("loading")
        names = model or list(models.EMBEDDED)
        loaded = {name: models.load(name, device=device) for name in names}
        coarse = {name: models.load(name, device=device, dtype=torch.bfloat16) for name in names}
        output.mkdir(parents=True, exist_ok=True)
        SENSITIVITY.extend(
            output,
            Run.of(next(iter(loaded.values())).device),
            range(pictures),
            [
                SensitivitySetting(name, each.fingerprint, count, how, spoilt, enough, first)
                for name, each in loaded.items()
                for count in counts
                for how in solvers
                for spoilt in wanted
            ],
            Sensitivity(Convergence(loaded, pictures), coarse),
            progress=lambda done, total: tell(f"measurement {done} of {total}"),
        )
    screen.table(HEADS, summary(SENSITIVITY.read(output)))
