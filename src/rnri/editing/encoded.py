"""An image as the latents of a model."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Encoded(NamedTuple):
    """An encoded image, all that inverting it takes.

    Attributes:
        latents: (1, C, h, w), at a size that the model takes.
        size: (width, height) of the image itself, in pixels.
    """

    latents: Tensor
    size: tuple[int, int]
