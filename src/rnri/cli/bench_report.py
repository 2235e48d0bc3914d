"""`rnri bench report`: the page of what was measured; `rnri bench fetch`: weights of metrics."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen
from rnri.cli.errors import Exit

_LOG = logging.getLogger(__name__)


class Failures:
    """Rows of a benchmark that failed, while others are measured."""

    def __init__(self) -> None:
        self.errors: list[RnriError] = []

    def add(self, error: RnriError) -> None:
        """Note the error of a row, and show it."""
        _LOG.error("failed: %s", error)
        self.errors.append(error)

    def check(self, measured: int) -> None:
        """Raise the first error where nothing was measured."""
        if self.errors and not measured:
            raise self.errors[0]

    def exit(self) -> None:
        """Exit with :attr:`Exit.PARTLY` if a row failed."""
        if self.errors:
            _LOG.error("%d rows failed: run it again for these", len(self.errors))
            raise typer.Exit(Exit.PARTLY)


def report(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of measurements.")],
    reference: Annotated[
        str | None,
        typer.Option("--reference", "--ours", help="The method to compare with.", show_default="the first measured"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write tables and figures of all measurements in a folder, without measuring anything."""
    from rnri.evaluation import reports

    page, tables, has_figures = reports.write(output, ours=reference)
    if not has_figures:
        _LOG.warning("without matplotlib there are no figures: pip install 'rnri[bench]'")
    if as_json:
        screen.write(json.dumps({"page": str(page), "edits": tables}, allow_nan=False))
    else:
        screen.show(str(page))


def fetch(
    name: Annotated[list[str], typer.Argument(metavar="NAME…", help="lpips-squeeze, lpips-alex, clip, dino.")],
) -> None:
    """Download the weights of metrics, once; measuring itself downloads nothing."""
    from rnri.metrics import weights

    for each in name:
        with screen.progress() as tell:
            tell(f"fetching {weights.FETCHED.get(each, each)}")
            weights.fetch(each)
        screen.show(f"{each} is downloaded")
