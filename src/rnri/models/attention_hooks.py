"""What a control may do inside a network while it runs: see and change attention, and features of the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Place:
    """One attention layer: ``cross`` looks from the latents at the prompt's tokens, otherwise at the latents.

    ``index`` counts layers of the same kind through the network, ``count`` says how many there are. ``level`` is how
    often the latents were halved on the way to the layer (:func:`grid`), ``transformer`` which of the transformers
    of its block it belongs to.
    """

    part: Literal["down", "mid", "up"]
    cross: bool
    index: int
    count: int
    level: int
    transformer: int


INNER = 2
"""The level that published methods read: 16² cells for the 64² latents of Stable Diffusion, 32² for SDXL's 128²."""


def grid(shape: tuple[int, int], level: int) -> tuple[int, int]:
    """Height and width of a UNet's feature map at a level: (⌈h/2ⁿ⌉, ⌈w/2ⁿ⌉) for latents of (h, w).

    A convolution of stride 2 and padding 1 has ⌈n/2⌉ outputs for n inputs, and the decoder returns to the sizes of the
    encoder. Rounding an average ratio instead is wrong for one latent size in ten.

    >>> grid((20, 13), 2), grid((128, 128), 2)
    ((5, 4), (32, 32))
    """
    height, width = shape
    return -(-height // 2**level), -(-width // 2**level)


class AttentionHook:
    """Called at every layer of a network; all that is not overridden leaves things as they are.

    A batch's rows come first in every tensor. Keys and values have a position for each token of the prompt in cross
    attention, queries always one for each cell of the layer's grid.
    """

    def project(self, place: Place, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, positions, width) to use instead."""
        return q, k, v

    def weighs(self, place: Place, cells: int) -> bool:
        """Whether attention weights are wanted here, where the grid has this many cells; it costs memory."""
        return False

    def weigh(self, place: Place, weights: Tensor) -> Tensor:
        """Attention weights (B, heads, cells, positions) to use instead; those given sum to 1 over positions."""
        return weights

    def rescale(self, place: Place, weights: Tensor) -> Tensor:
        """The weights that all hooks agreed on in :meth:`weigh`, multiplied by what this one has for them."""
        return weights

    def look(self, place: Place, weights: Tensor) -> None:
        """Called with the weights as they are used, after every hook has had its say."""

    def feature(self, hidden: Tensor) -> Tensor:
        """What the decoder's second residual block at level 2 adds, (B, C, h, w), to use instead."""
        return hidden
