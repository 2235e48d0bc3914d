"""ExactDPM's step without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation


@dataclass(frozen=True)
class ForwardStep(Method):
    """One explicit step, then z ← z − ρ (Φ(z) − z_clean), Φ being the sampling step.

    z_clean − Φ(z) is the equation's gain times g(z) − z. The authors' code takes up to 500 such steps; ρ rises from
    0.025 to 0.5 over the first 20 and is halved where the error has not shrunk for 20. Here ρ is constant, as budgets
    of a few steps would end within that rise.

    >>> import torch
    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), ForwardStep(), max_iter=100, tol=1e-5)
    >>> round(solution.z.item(), 3), solution.calls
    (0.739, 8)
    """

    source: ClassVar = publications.EXACT_DPM
    passage: ClassVar = "the forward step method, which needs no gradient"

    rate: float = option(0.5, "ρ", low=1e-6, high=2.0)

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: bool | None) -> tuple[Tensor, bool]:
        """``state`` is whether the explicit step has been taken."""
        return (z + self.rate * eq.gain * (gz - z) if state else gz), True
