"""`rnri bench serve`: a server under load."""

from __future__ import annotations

from typing import Annotated

import typer

from rnri.cli import inverting, options, screen, values
from rnri.cli.serve import check_extra

CLIENTS = ("1", "2", "4", "8")


def serve(
    model: options.Model = options.MODEL,
    device: options.Device = "auto",
    clients: Annotated[
        list[str] | None,
        typer.Option(metavar="N…", help="How many ask at once.", show_default=" ".join(CLIENTS)),
    ] = None,
    requests: Annotated[str, typer.Option(metavar="N", help="How often each asks.")] = "8",
    pictures: Annotated[str, typer.Option(metavar="N", help="Of how many pictures edits are asked.")] = "4",
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Measure a server of edits on this computer.

    With and without batching, by number of clients; every answer is compared with the same edit done alone. Exit code
    1 if one is wrong.
    """
    counts = [values.whole("--clients", text, 1, 256) or 1 for text in clients or CLIENTS]
    times, shown = values.whole("--requests", requests, 1) or 1, values.whole("--pictures", pictures, 1) or 1
    first = values.seed(seed) or 0
    check_extra()

    from rnri.editing.editor import Timings
    from rnri.evaluation.serving import LEVELS, measure

    with screen.progress() as tell:
        editor = inverting.open_editor(model, device, Timings(), tell)
        found = measure(editor, clients=counts, requests=times, pictures=shown, seed=first, progress=tell)
    if as_json:
        screen.say_exactly(found.to_json())
    else:
        screen.table(
            ("clients", "batching", "requests/s", "p50 s", "p95 s", "p99 s", "in a batch", "calls", "wrong", "MiB"),
            [
                (
                    str(row.clients),
                    "yes" if row.batching else "no",
                    f"{row.throughput:.2f}",
                    f"{row.p50:.3f}",
                    f"{row.p95:.3f}",
                    f"{row.p99:.3f}",
                    f"{row.batch:.2f}",
                    str(row.calls),
                    str(row.wrong),
                    "" if row.resident is None else f"{row.resident:.0f}",
                )
                for row in found.rows
            ],
        )
        for count, gain in found.gains.items():
            screen.say(f"batching makes {count} clients {gain:.2f} times as fast")
        screen.say(f"wrong is what differs by more than {LEVELS} of 255 levels; on {found.environment.device}")
    if found.wrong:
        raise typer.Exit(1)
