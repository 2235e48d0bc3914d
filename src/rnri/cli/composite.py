"""`rnri composite`: an edit that another editor made, with the original's pixels wherever nothing was edited."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnri.cli import options, outputs, screen

if TYPE_CHECKING:
    from rnri.editing.compositing import CompositeResult

LOSSLESS = (".png",)
OUTPUT = "ORIGINAL-composite.png, in this directory"

_LOG = logging.getLogger(__name__)


def composite(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The image that was edited.")],
    edited: Annotated[Path, typer.Argument(metavar="EDITED", help="The result of any editor, of any size.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File of the result.", show_default=OUTPUT),
    ] = None,
    mask_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the mask, white where the edit is shown.")
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.05, max=20.0, help="Differences that count as edits; smaller finds more.")
    ] = 1.0,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Keep the original's pixels wherever another editor changed nothing on purpose.

    Global shift, scale and tint of EDITED are undone. Outside the mask a PNG has the original's pixels to the bit.
    """
    result_file = output or Path(f"{original.stem}-composite.png")
    files = [result_file, *([mask_out] if mask_out else [])]
    outputs.check(files, force=force)

    from rnri import images
    from rnri.editing.compositing import composite as compute

    with screen.progress() as tell:
        tell("comparing")
        result = compute(original, edited, threshold=threshold)
        tell("writing")
        images.write_own(result.picture, result_file, overwrite=force)
        if mask_out:
            images.write_own(result.mask, mask_out, overwrite=force)
    _report(result, result_file, mask_out, as_json)


def _report(result: CompositeResult, file: Path, mask_out: Path | None, as_json: bool) -> None:
    fit, lossless = result.registration, file.suffix.lower() in LOSSLESS
    width, height = result.picture.size
    shift = [each * side / 2 for each, side in zip(fit.shift, (width, height), strict=True)]
    if as_json:
        facts = {
            "output": str(file),
            "mask": str(mask_out) if mask_out else None,
            "preserved": result.preserved,
            "lossless": lossless,
            "shift_pixels": shift,
            "scale": fit.scale,
            "gain": fit.gain,
            "bias": fit.bias,
        }
        screen.write(json.dumps(facts, allow_nan=False))
        return
    kept = f"{result.preserved:.1%} of the pixels are the original's"
    screen.pairs(
        [
            ("result", str(file)),
            ("preserved", kept if lossless else f"{kept} before compression; write PNG to keep their bits"),
            ("shift", f"{shift[0]:+.2f}, {shift[1]:+.2f} pixels undone"),
            ("scale", f"{fit.scale[0]:.4f}, {fit.scale[1]:.4f} undone"),
        ]
    )
    if result.preserved < 0.01:
        _LOG.warning("the images differ almost everywhere, so the result is the edit itself")
