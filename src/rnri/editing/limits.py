"""What an editor may be asked for: all that is out of range is a ValueError of one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from rnri_core.errors import RnriError, RnriTypeError
from rnri_core.inversion.config import check_seed, is_whole

from rnri.models.base import MAX_SIDE

Size: TypeAlias = tuple[int, int]
"""(width, height)."""


def listed(prompt: str | list[str]) -> list[str]:
    """One prompt or several, as a list."""
    prompts = list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
    if not prompts:
        raise RnriError("there is no prompt in the list", hint="give at least one")
    for text in prompts:
        if not isinstance(text, str):
            raise RnriTypeError(f"the prompt {text!r} is no text", hint="give a str", field="prompt")
        if not text.strip():
            raise RnriError(f"the prompt {text!r} is empty", hint="say what the image shows", field="prompt")
    return prompts


def check_size(size: Size | None) -> None:
    """Of a picture that is wanted, (width, height)."""
    if size is not None and not (_pair(size) and all(1 <= side <= MAX_SIDE for side in size)):
        raise RnriError(
            f"size={size} is out of range", hint=f"give a width and a height from 1 to {MAX_SIDE}", field="size"
        )


def check_resolution(resolution: Size, multiple: int, most: int) -> None:
    """Of what a network works at, (width, height): multiples of what it takes, and no more than it has places for.

    >>> check_resolution((501, 336), 8, 2048)
    Traceback (most recent call last):
    rnri_core.errors.RnriError: resolution=501x336 is not to be had: both sides have to be multiples of 8 up to ...
    """
    if not _pair(resolution):
        raise RnriError(
            f"resolution={resolution!r} is no pair of whole numbers", hint="give (width, height)", field="resolution"
        )
    if all(side % multiple == 0 and 0 < side <= most for side in resolution):
        return
    wide, high = (min(max(1, round(side / multiple)), most // multiple) * multiple for side in resolution)
    raise RnriError(
        f"resolution={resolution[0]}x{resolution[1]} is not to be had",
        hint=f"both sides have to be multiples of {multiple} up to {most}, such as {wide}x{high}",
        field="resolution",
    )


def _pair(sides: object) -> bool:
    return isinstance(sides, Sequence) and len(sides) == 2 and all(map(is_whole, sides))


def generator(seed: int) -> torch.Generator:
    """Noise is always drawn on the CPU, so that a seed means the same on every device."""
    check_seed(seed)
    return torch.Generator().manual_seed(seed)
