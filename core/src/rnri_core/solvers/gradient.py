"""ExactDPM's gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation


@dataclass(frozen=True)
class Gradient(Method):
    """One explicit step, then z ← z − ρ ∇½‖z − g(z)‖² = z − ρ (r − (∂g/∂z)ᵀ r), r = z − g(z).

    The explicit step costs one call, each other a call and a transposed product.

    The sampling step's own residual is a·r, so ρ is its descent rate times a². With A = 1 − ∂g/∂z the residual shrinks
    where ρ < 2/‖A‖², slowly where A is nearly singular, as the condition is that of A squared; a longer ρ diverges.

    >>> import torch
    >>> from rnri_core.solvers.equation import Equation
    >>> from rnri_core.solvers.solve import solve
    >>> eq, one = Equation(lambda z: -1.6 * z), torch.ones(1, 1)  # A = 2.6, 2/‖A‖² = 0.296
    >>> [solve(eq, one, Gradient(rate), max_iter=9).z.abs().item() < 1.6 for rate in (0.29, 0.3)]
    [True, False]
    """

    source: ClassVar = publications.EXACT_DPM
    passage: ClassVar = "gradient descent on the sampling step's squared error"
    converges: ClassVar = "rate=0.7"

    rate: float = option(0.5, "ρ", low=1e-6, high=2.0)

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: bool | None) -> tuple[Tensor, bool]:
        """``state`` is whether the explicit step has been taken."""
        if not state:
            return gz, True
        r = z - gz
        return z - self.rate * (r - eq.vjp(z, r)), True
