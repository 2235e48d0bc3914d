"""Pictures between a browser and the engine: as data URLs, at the size of a screen, and masked."""

from __future__ import annotations

import base64

from rnri_core.errors import RnriError
from torch import Tensor

from rnri import images
from rnri.images import ImageLike, Picture

LIVE_SIDE = 512
"""Longest side, in pixels, of edits while the user types, unless the model's own is longer."""
_SMALL = 256 * 256  # up to here a PNG is as fast as a JPEG, and exact


def to_url(data: bytes, kind: str) -> str:
    """Bytes of a media type as a data URL.

    >>> to_url(b"abc", "text/plain")
    'data:text/plain;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def from_url(url: object, *, what: str) -> bytes:
    """The bytes of a data URL; ValueError, which names `what`, for anything else.

    >>> from_url("data:text/plain;base64,YWJj", what="picture")
    b'abc'
    """
    if not isinstance(url, str) or not url.startswith("data:") or ";base64," not in url[:100]:
        raise RnriError(f"the {what} is no data URL of a picture", hint="send PNG, JPEG or WebP")
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except ValueError as error:  # other characters too
        raise RnriError(f"the {what} is damaged ({error})", hint="send it again") from error


def as_url(picture: ImageLike) -> str:
    """A picture as an exact PNG."""
    return to_url(images.encode(picture, "PNG"), "image/png")


def live_url(picture: Picture) -> str:
    """A picture for the screen: an exact PNG if it is small, else a fine JPEG."""
    if picture.width * picture.height <= _SMALL:
        return as_url(picture)
    return to_url(images.encode(picture, "JPEG"), "image/jpeg")


def live_size(size: tuple[int, int], model_side: int) -> tuple[int, int]:
    """A size (width, height) reduced to that of the screen, in the same proportions.

    >>> live_size((4000, 3000), 128), live_size((100, 80), 128)
    ((512, 384), (100, 80))
    """
    scale = min(1.0, max(LIVE_SIDE, model_side) / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def masked(edited: ImageLike, original: Tensor, mask: Tensor) -> Picture:
    """The edit where the mask is white, the original where it is black: m·edited + (1 − m)·original.

    All are (1, 3, H, W) in [-1, 1], the mask at any size; the result has that of the edit.

    >>> import torch
    >>> half = torch.cat([torch.ones(1, 3, 4, 2), -torch.ones(1, 3, 4, 2)], dim=3)
    >>> picture = masked(torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4), half)
    >>> picture.getpixel((0, 0)), picture.getpixel((3, 3))
    ((255, 255, 255), (0, 0, 0))
    """
    pixels = images.read(edited)
    size = (pixels.shape[-2], pixels.shape[-1])
    weight = (images.resize(mask, size).mean(1, keepdim=True) + 1) / 2
    return images.to_pil(weight * pixels + (1 - weight) * images.resize(original, size))[0]
