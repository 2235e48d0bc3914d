"""Hooks of controls inside a network: attention of its layers, and features of the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Projections = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values (B, heads, positions, width) of an attention layer."""


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer of a UNet.

    Attributes:
        part: encoder, middle or decoder.
        cross: whether it attends to the prompt's tokens; else to the latents.
        index: its number among the ``count`` layers of the same kind, from the input on.
        count: how many there are of its kind.
        level: how often the latents were halved on the way to it; see :func:`grid`.
        transformer: the number of its transformer in its block.
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
    """Called at every layer of a network; the defaults change nothing.

    ``step`` is the index of the sampling step. A batch's rows come first in every tensor. Keys and values have a
    position for each token of the prompt in cross attention, queries always one for each cell of the layer's grid.
    """

    def project(self, step: int, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> Projections:
        """Queries, keys and values (B, heads, positions, width) to use instead."""
        return q, k, v

    def needs_probabilities(self, step: int, layer: AttentionLayer) -> bool:
        """Whether this hook reads or changes attention probabilities at this layer, which costs memory."""
        return False

    def probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> Tensor:
        """Attention probabilities (B, heads, cells, positions) to use instead; those given sum to 1 over positions."""
        return probabilities

    def rescale(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> Tensor:
        """The probabilities after all hooks' :meth:`probabilities`, times this hook's factors."""
        return probabilities

    def observe_probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> None:
        """Called with the probabilities as they are used, after all hooks have changed them."""

    def feature(self, step: int, hidden: Tensor) -> Tensor:
        """The output (B, C, h, w) of the decoder's second residual block at level 2, before it is added, to use
        instead."""
        return hidden
