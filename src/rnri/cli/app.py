"""The commands of `rnri`, one file per group."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

import rnri
from rnri.cli import screen
from rnri.cli.bench import bench
from rnri.cli.blend import concept, interpolate
from rnri.cli.composite import composite
from rnri.cli.demo import demo
from rnri.cli.edit import edit, invert
from rnri.cli.generate import generate
from rnri.cli.groups import Command, grouped
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
    demo,
    edit,
    invert,
    generate,
    interpolate,
    concept,
    composite,
    ui,
    serve,
    models,
    solvers,
    controls,
    methods,
):
    app.command(cls=Command)(grouped(command))
app.add_typer(bench, name="bench")


def _version(requested: bool) -> None:
    if requested:
        screen.show(f"rnri {rnri.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is done, on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", "-vv", help="Show details and tracebacks, on stderr.")] = False,
) -> None:
    """Edit real images by text: invert a diffusion model's sampler, then sample with another prompt."""
    screen.set_level(logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING)
    if context.invoked_subcommand is None:
        screen.write(context.get_help())
