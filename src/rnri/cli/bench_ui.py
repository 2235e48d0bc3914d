"""`rnri bench ui`: seconds from the last key to the image."""

from __future__ import annotations

from typing import Annotated

import typer

from rnri.cli import options, screen
from rnri.cli.serve import require
from rnri.cli.ui import NEEDS


def ui(
    model: options.ModelOptions,
    edits: Annotated[int, typer.Option("--edits", "-n", min=1, max=options.MAX_IMAGES, help="Number of edits.")] = 20,
    as_json: options.Json = False,
) -> None:
    """Measure the live page in a browser.

    From the last key to the image, with the pause in which the page waits for more keys.
    """
    require("the page", NEEDS, "ui")
    from rnri.evaluation.page import PAUSE, latency

    with screen.progress() as tell:
        tell("loading")
        measured = latency(model.load(), edits, progress=lambda done, total: tell(f"edit {done} of {total}"))
    if as_json:
        screen.write(measured.to_json())
        return
    screen.pairs(
        [
            ("model", f"{model.name}, {measured.steps} steps"),
            ("median", f"{1000 * measured.median:.0f} ms, of them {1000 * PAUSE:.0f} ms waiting for more keys"),
            ("slowest", f"{1000 * max(measured.seconds):.0f} ms of {edits}"),
            ("share", f"{measured.share:.0%} of the time after the pause is not spent in networks"),
            ("on", f"{measured.where.device}, {measured.where.threads} threads"),
        ]
    )
