"""`rnri bench embedded`: the embedded models on held-out scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rnri.cli import options, screen

if TYPE_CHECKING:
    from rnri.evaluation.embedded import Accuracy, EmbeddedReport


def embedded(
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Model or folder; repeat it.", show_default="all embedded ones")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 200,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure the embedded models.

    On held-out scenes: reconstruction by the autoencoder, and images sampled from captions.
    """
    from rnri.evaluation.embedded import embedded
    from rnri.models import EMBEDDED

    with screen.progress() as tell:
        report = embedded(
            models or list(EMBEDDED),
            limit=limit,
            seed=seed,
            device=device,
            progress=lambda stage, done, total: tell(f"{stage} {done} of {total}"),
        )
    if as_json:
        screen.write(report.to_json())
    else:
        _show(report)


def _show(report: EmbeddedReport) -> None:
    """The shares of right attributes, with their 95 % intervals."""
    heads = ("model", "steps", "guidance", "autoencoder dB", "kept by it %", "sampled right %", "seconds each")
    rows = []
    for each in report.models:
        settings = (str(each.settings.steps), f"{each.settings.guidance:g}", f"{each.autoencoder.psnr_db:.1f}")
        shares = (_percent(each.autoencoder.against_render), _percent(each.generation))
        rows.append((each.model, *settings, *shares, f"{each.seconds:.2f}"))
    screen.table(heads, rows)
    screen.show(
        f"{report.limit} held-out scenes, on {report.device}; the reader of attributes: {_percent(report.reader)} %"
    )


def _percent(accuracy: Accuracy) -> str:
    return f"{accuracy.share:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})".replace("%", "")
