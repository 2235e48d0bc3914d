"""ExactDPM's step without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri.equation import Equation
from rnri.solvers import sources
from rnri.solvers.method import Method, option


@dataclass(frozen=True)
class ForwardStep(Method):
    """z ← z − ρ (Φ(z) − z_clean), Φ being the sampling step: z_clean − Φ(z) is the equation's gain times g(z) − z."""

    source: ClassVar = sources.EXACT_DPM
    passage: ClassVar = "the forward step method, which needs no gradient"

    rate: float = option(0.5, "ρ", low=1e-6, high=2.0)

    def init(self, z: Tensor, max_iter: int) -> None:
        return None

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: None) -> tuple[Tensor, None]:
        return z + self.rate * eq.gain * (gz - z), None
