"""How an edit is made, from the options that say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rnri_core.errors import RnriError

if TYPE_CHECKING:
    from rnri.controls import AnyControl

AUTO = "auto"
"""As a source prompt: look for yourself."""


def weights(given: Sequence[str]) -> list[tuple[str, float]]:
    """The values of --weight.

    >>> weights(["ball=2.0"])
    [('ball', 2.0)]
    """
    found = []
    for text in given:
        word, _, number = text.rpartition("=")
        try:
            found.append((word.strip(), float(number)))
        except ValueError:
            word = ""
        if not word.strip():
            raise RnriError(f"--weight {text!r} is not a word and its weight", hint="give one like ball=2.0")
    return found


def check_paste(paste: bool, image: Path, *, stored: bool) -> None:
    """Raise ValueError for --paste where there are no pixels to paste."""
    if paste and stored:
        raise RnriError(f"--paste needs the picture itself, and {image} is its inversion", hint="give the picture")


def controls(
    specs: Sequence[str], words: Sequence[tuple[str, float]], mask: Path | None
) -> tuple[AnyControl, ...] | Literal["auto"]:
    """Controls as named, then the mask, then the weights of words; ``"auto"`` where none of these is given.

    The spec ``none`` alone is an edit without controls. Raises RnriError for an unknown control or file.
    """
    from rnri.controls import control
    from rnri.controls.image_mask import ImageMask
    from rnri.controls.reweight import Reweight

    if mask is not None and not mask.is_file():
        raise RnriError(f"--mask {mask} is no file", hint="give a picture, white where the edit may change things")
    chosen = [control(spec) for spec in specs if spec != "none"]
    chosen += [ImageMask(mask=mask)] if mask else []
    chosen += [Reweight(word=word, weight=weight) for word, weight in words]
    return tuple(chosen) if chosen or specs else "auto"
