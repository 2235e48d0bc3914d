"""`rnri bench`: measurements, one command each."""

from __future__ import annotations

import typer

from rnri.cli.bench_convergence import convergence
from rnri.cli.bench_edits import coco, folder, pie, scenes, tune
from rnri.cli.bench_embedded import embedded
from rnri.cli.bench_report import fetch, report
from rnri.cli.bench_sensitivity import sensitivity
from rnri.cli.bench_serve import serve
from rnri.cli.bench_speed import speed
from rnri.cli.bench_ui import ui
from rnri.cli.groups import Command, grouped

bench = typer.Typer(rich_markup_mode=None)


@bench.callback()
def group() -> None:
    """Measure models and methods."""


for command in (
    *(scenes, pie, coco, folder, tune, convergence, sensitivity),
    *(report, speed, fetch, serve, ui, embedded),
):
    bench.command(cls=Command)(grouped(command))
