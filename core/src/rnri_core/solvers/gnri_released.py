"""What the code published with the GNRI paper computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.equation import Equation, l1
from rnri_core.solvers.newton_raphson import NewtonRaphson
from rnri_core.solvers.rnri import distance


@dataclass(frozen=True)
class GnriReleased(NewtonRaphson):
    """z ← z + (F/D)·sign(g(z) − z), F = ‖z − g(z)‖₁ + λ·½‖(g(z) − α x₀)/σ‖²; the g(z) with the least F is the answer.

    The published code detaches every gradient from the network, so ∇F is ±1 and the prior only lengthens the step:
    a fixed point taken by signs, two calls for its two iterations, no backward pass.

    >>> import torch
    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), GnriReleased(), max_iter=5)
    >>> round(solution.z.item(), 3), solution.nfe, solution.nvjp
    (0.793, 5, 0)
    """

    source: ClassVar = publications.GNRI
    passage: ClassVar = "the published code"

    def score(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        return l1(z - gz) + self.weight * distance(eq, gz).value

    def step(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        return z + self.score(eq, z, gz) / z[0].numel() * (gz - z).sign()
