"""The commands of `rnri`, one file per group."""

from __future__ import annotations

from typing import Annotated

import typer

import rnri
from rnri.cli import screen
from rnri.cli.bench import bench
from rnri.cli.blend import concept, interpolate
from rnri.cli.demo import demo
from rnri.cli.edit import edit, invert
from rnri.cli.generate import generate
from rnri.cli.listing import controls, methods, models, solvers
from rnri.cli.serve import serve
from rnri.cli.ui import ui

app = typer.Typer(
    name="rnri",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(demo, edit, invert, generate, interpolate, concept, ui, serve),
    *(models, solvers, controls, methods),
):
    app.command()(command)
app.add_typer(bench, name="bench")


def _version(asked: bool) -> None:
    if asked:
        screen.say(f"rnri {rnri.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Edit real images by text: invert a diffusion model's sampler, then sample with other words."""
    if context.invoked_subcommand is None:
        screen.say_exactly(context.get_help())
