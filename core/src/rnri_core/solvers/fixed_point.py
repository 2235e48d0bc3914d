"""Fixed-point iteration, plain or damped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation


@dataclass(frozen=True)
class FixedPoint(Method):
    """z ← z + ω (g(z) − z), FPI for ω = 1. Converges where every eigenvalue of 1 − ω(1 − ∂g) is inside the unit disc.

    >>> FixedPoint(damping=0.5)
    FixedPoint(damping=0.5)
    """

    source: ClassVar = publications.GNRI
    passage: ClassVar = "version 1, fixed-point inversion (FPI)"

    damping: float = option(1.0, "ω, the share of each step taken; below 1 is slower and safer", low=0.01, high=2.0)

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: None) -> tuple[Tensor, None]:
        return (gz if self.damping == 1.0 else z + self.damping * (gz - z)), None
