"""`rnri bench report`: the page of what was measured; `rnri bench fetch`: what some metrics need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rnri.cli import options, screen

Ours = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="The method that others are held against.", show_default="the first measured"),
]


def report(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Where measurements were left.")],
    ours: Ours = None,
    as_json: options.Json = False,
) -> None:
    """Write the tables and figures of what was measured, whatever it was, without measuring anything."""
    from rnri.evaluation import reports

    page, told, drawn = reports.write(output, ours=ours)
    if not drawn:
        screen.warn("without matplotlib there are no figures: pip install 'rnri[bench]'")
    if as_json:
        screen.say_exactly(json.dumps({"page": str(page), "edits": told}, allow_nan=False))
    else:
        screen.say(str(page))


def fetch(
    name: Annotated[list[str], typer.Argument(metavar="NAME…", help="lpips-squeeze, lpips-alex, clip, dino.")],
) -> None:
    """Download weights that metrics look through, once; measuring itself downloads nothing."""
    from rnri.metrics import weights

    for each in name:
        with screen.progress() as tell:
            tell(f"fetching {weights.FETCHED.get(each, each)}")
            weights.fetch(each)
        screen.say(f"{each} is there")
