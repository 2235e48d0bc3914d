"""`rnri models`, `rnri solvers`, `rnri controls` and `rnri methods`: the tables of the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import rnri
from rnri.cli import catalog, screen

WEIGHTS = Path(rnri.__file__).with_name("weights")


def models(
    families: Annotated[bool, typer.Option("--families", help="List families of pipelines instead.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The families as a table for a page.")] = False,
) -> None:
    """List the embedded models, or the families of pipelines that can be loaded."""
    tables = catalog.read()
    heads, *rows = tables["families"]
    if markdown:
        for row in (heads, ["---"] * len(heads), *rows):
            screen.show(f"| {' | '.join(row)} |")
        return
    if families:
        screen.table(heads, rows)
        return
    rows = []
    for name, (steps, guidance, about) in tables["models"].items():
        weights = sum(file.stat().st_size for file in (WEIGHTS / name).rglob("*.safetensors"))
        rows.append((name, steps, guidance, f"{weights / 1e6:.0f} MB" if weights else "not in this copy", about))
    screen.table(("model", "steps", "guidance", "weights", "images"), rows)
    screen.show()
    screen.show("Any other by its folder in the diffusers layout, or by its Hub id owner/name, with safetensors.")
    screen.show("The families of pipelines: rnri models --families")


def solvers() -> None:
    """List presets, solvers, inverters and wrappers: source, behaviour and fields of each."""
    _show("solvers")
    screen.show("Fields are set after a colon: --inverter gnri:eta=0.2,beta=dense")
    screen.show("A name with + is a wrapper, around the solver before it: --inverter gnri+polish:steps=2")


def controls() -> None:
    """List the controls of an edit: effect, source and fields of each."""
    _show("controls")
    screen.show("Fields are set after a colon: --control diffedit-mask:threshold=0.5,dilate=2")


def methods() -> None:
    """List the methods of editing that are compared: behaviour, source and fields of each."""
    _show("methods")
    screen.show(
        "Fields are set after a colon, values with commas in quotes: \"inversion:inverter='anderson:memory=2'\""
    )


def _show(table: str) -> None:
    for name, row in catalog.read()[table].items():
        screen.show(name, style="bold")
        for line in row["about"]:
            screen.show(f"  {line}")
        widths = [max(map(len, column)) for column in zip(*row["fields"], strict=True)]
        for default, values, text in row["fields"]:
            screen.show(f"    {default.ljust(widths[0])}  {values.ljust(widths[1])}  {text}")
        screen.show()
