"""What a control may do inside a network while it runs: see and change attention, and features of the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Place:
    """One attention layer: ``cross`` looks from the latents at the prompt's tokens, otherwise at the latents.

    ``index`` counts layers of the same kind through the network, ``count`` says how many there are.
    """

    part: Literal["down", "mid", "up"]
    cross: bool
    index: int
    count: int


class AttentionHook:
    """Called at every layer of a network; all that is not overridden leaves things as they are.

    A batch's rows come first in every tensor. Keys and values have a position for each token of the prompt in cross
    attention, queries always one for each cell of the layer's grid.
    """

    def project(self, place: Place, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, positions, width) to use instead."""
        return q, k, v

    def weighs(self, place: Place, cells: int) -> bool:
        """Whether :meth:`weigh` is to be called here, where the grid has this many cells; it costs memory."""
        return False

    def weigh(self, place: Place, weights: Tensor) -> Tensor:
        """Attention weights (B, heads, cells, positions) to use instead; those given sum to 1 over positions."""
        return weights

    def feature(self, hidden: Tensor) -> Tensor:
        """What the decoder's fourth residual block adds, (B, C, h, w), to use instead."""
        return hidden
