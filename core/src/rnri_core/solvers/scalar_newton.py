"""Newton's method on one scalar equation per image, with the shortest step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import option
from rnri_core.solvers.equation import Equation, dot
from rnri_core.solvers.newton_raphson import Guided


@dataclass(frozen=True)
class ScalarNewton(Guided):
    """z ← z − F·∇F/‖∇F‖²: GNRI's objective, its linearisation solved by the shortest step instead of element by
    element, so nothing is divided by a small ∂_iF. Without the prior (λ = 0, the default) F has its root at z = g(z).

    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), ScalarNewton(), max_iter=5)
    >>> round(solution.z.item(), 3), solution.nfe, solution.nvjp
    (0.739, 5, 4)
    """

    source: ClassVar = publications.GNRI
    passage: ClassVar = "Eq. 9, minimum-norm step"

    weight: float = option(0.0, "λ, the weight of the prior", low=0.0)

    def step(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        value, gradient = self.linearise(eq, z, gz, self.penalty(eq, z))
        return z - value * gradient / dot(gradient, gradient).clamp_min(torch.finfo(z.dtype).tiny)
