"""FireFlow: a flow solved to second order at the price of the first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from rnri_core import publications
from torch import Tensor

from rnri.baselines.canvas import Canvas, Rival
from rnri.baselines.flow import Velocity, there_and_back


@dataclass(frozen=True)
class FireFlow(Rival):
    """Midpoint steps that reuse the midpoint velocity of the step before to reach the next midpoint: one call each.

    Only the first step of each direction takes two. Sharing values of attention is not part of it here.
    """

    source = publications.FIREFLOW
    passage = "Algorithm 1"

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        return there_and_back(_walked, canvas, "fireflow", guidance)


def _walked(v: Velocity, levels: list[float], z: Tensor) -> Tensor:
    last = v(z, levels[0])
    for sigma, end in pairwise(levels):
        half = (end - sigma) / 2
        last = v(z + half * last, sigma + half)
        z = z + 2 * half * last
    return z
