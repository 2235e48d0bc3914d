"""`rnri bench ui`: from the last key to the picture."""

from __future__ import annotations

from typing import Annotated

import typer

from rnri.cli import options, screen, values
from rnri.cli.ui import check_extra


def ui(
    model: Annotated[str, typer.Option(metavar="NAME", help="An embedded model.")] = options.MODEL,
    edits: Annotated[str, typer.Option("--edits", "-n", metavar="N", help="How many pictures to type for.")] = "20",
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure the live page in a browser.

    From the last key to the picture, the pause in which the page waits for more keys included.
    """
    count = values.whole("--edits", edits, 1, values.MAX_IMAGES) or 1
    check_extra()
    from rnri import models
    from rnri.evaluation.page import PAUSE, latency

    with screen.progress() as tell:
        tell("loading")
        measured = latency(
            models.load(model, device=device), count, progress=lambda done, total: tell(f"edit {done} of {total}")
        )
    if as_json:
        screen.say_exactly(measured.to_json())
        return
    ordered = sorted(measured.seconds)
    screen.pairs(
        [
            ("model", f"{model}, {measured.steps} steps"),
            ("median", f"{1000 * measured.median:.0f} ms, of them {1000 * PAUSE:.0f} ms waiting for more keys"),
            ("slowest", f"{1000 * ordered[-1]:.0f} ms of {count}"),
            ("share", f"{measured.share:.0%} of the time after the pause is not spent in networks"),
            ("on", f"{measured.where.device}, {measured.where.threads} threads"),
        ]
    )
