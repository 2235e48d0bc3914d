"""`rnri bench`: measurements, one command each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rnri.cli import options, screen, values
from rnri.cli.bench_convergence import Lists, convergence
from rnri.cli.bench_edits import coco, folder, pie, scenes, tune
from rnri.cli.bench_report import fetch, report
from rnri.cli.bench_sensitivity import sensitivity
from rnri.cli.bench_serve import serve
from rnri.cli.bench_speed import speed
from rnri.cli.bench_ui import ui

if TYPE_CHECKING:
    from rnri.evaluation.embedded import Accuracy, EmbeddedReport

bench = typer.Typer(rich_markup_mode=None)


@bench.callback()
def group() -> None:
    """Measure models and methods."""


bench.command()(scenes)
bench.command()(pie)
bench.command()(coco)
bench.command()(folder)
bench.command()(tune)
bench.command(cls=Lists)(convergence)
bench.command(cls=Lists)(sensitivity)
bench.command()(report)
bench.command()(speed)
bench.command()(fetch)
bench.command(cls=Lists)(serve)
bench.command()(ui)


@bench.command()
def embedded(
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Model or folder; repeat it for several.", show_default="all embedded ones"),
    ] = None,
    limit: Annotated[str, typer.Option(metavar="N", help="How many held-out scenes.")] = "200",
    seed: options.Seed = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure the embedded models.

    On held-out scenes: what the autoencoder keeps of them, and what is drawn from their captions.
    """
    scenes, first = values.whole("--limit", limit, 1) or 1, values.seed(seed) or 0
    from rnri.evaluation.embedded import embedded
    from rnri.models import EMBEDDED

    with screen.progress() as tell:
        report = embedded(
            model or list(EMBEDDED),
            limit=scenes,
            seed=first,
            device=device,
            progress=lambda stage, done, total: tell(f"{stage} {done} of {total}"),
        )
    if as_json:
        screen.say_exactly(report.to_json())
    else:
        _show(report)


def _show(report: EmbeddedReport) -> None:
    """The shares of attributes as they should be, with their 95 % intervals."""
    screen.table(
        ("model", "steps", "guidance", "autoencoder dB", "kept by it %", "drawn as told %", "seconds each"),
        [
            (
                each.model,
                str(each.settings.steps),
                f"{each.settings.guidance:g}",
                f"{each.autoencoder.psnr_db:.1f}",
                _percent(each.autoencoder.against_render),
                _percent(each.generation),
                f"{each.seconds:.2f}",
            )
            for each in report.models
        ],
    )
    screen.say(
        f"{report.limit} held-out scenes, on {report.device}; the reader of attributes: {_percent(report.reader)} %"
    )


def _percent(accuracy: Accuracy) -> str:
    return f"{accuracy.share:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})".replace("%", "")
