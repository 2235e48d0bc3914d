"""`rnri bench serve`: a server under load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rnri.cli import options, screen
from rnri.cli.errors import Exit
from rnri.cli.serve import NEEDS, require

if TYPE_CHECKING:
    from rnri.evaluation.serving import ServeReport


def serve(
    model: options.ModelOptions,
    clients: Annotated[
        list[int] | None, typer.Option(min=1, max=256, help="Clients at the same time.", show_default="1 2 4 8")
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Requests of each client.")] = 8,
    pictures: Annotated[int, typer.Option(min=1, help="Images that are edited.")] = 4,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Measure a server of edits on this computer.

    With and without batching, by number of clients; every answer is compared with the same edit done alone. Exit code
    1 if one is wrong.
    """
    require("serving", NEEDS, "serve")

    from rnri.editing.editor import Timings
    from rnri.evaluation.serving import measure

    counts = clients or [1, 2, 4, 8]
    with screen.progress() as tell:
        editor = model.editor(Timings(), tell)
        report = measure(editor, clients=counts, requests=requests, pictures=pictures, seed=seed, progress=tell)
    if as_json:
        screen.write(report.to_json())
    else:
        _show(report)
    if report.wrong:
        raise typer.Exit(Exit.FAULT)


def _show(report: ServeReport) -> None:
    from rnri.evaluation.serving import LEVELS

    heads = ("clients", "batching", "requests/s", "p50 s", "p95 s", "p99 s", "in a batch", "calls", "wrong", "MiB")
    rows = []
    for row in report.rows:
        seconds = (f"{value:.3f}" for value in (row.p50, row.p95, row.p99))
        counts = (f"{row.batch:.2f}", str(row.calls), str(row.wrong))
        memory = "" if row.resident is None else f"{row.resident:.0f}"
        batching = "yes" if row.batching else "no"
        rows.append((str(row.clients), batching, f"{row.throughput:.2f}", *seconds, *counts, memory))
    screen.table(heads, rows)
    for count, gain in report.gains.items():
        screen.show(f"batching makes {count} clients {gain:.2f} times as fast")
    screen.show(f"wrong are answers that differ by more than {LEVELS} of 255 levels; on {report.environment.device}")
