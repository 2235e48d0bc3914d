"""Guided Newton-Raphson inversion, as the paper writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import option
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.newton_raphson import Guided, elementwise


@dataclass(frozen=True)
class Gnri(Guided):
    """F(z) = ‖z − g(z)‖₁ + λ·‖z − μ‖/β; z_i ← z_i − (1/D)·F/∂_iF, the gradient real, through the network.

    F has no root at the true inverse when λ > 0, so the best g(z) seen is returned.

    >>> import torch
    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), Gnri(), max_iter=5)
    >>> round(solution.z.item(), 3), solution.nfe, solution.nvjp
    (0.739, 5, 4)
    """

    source: ClassVar = publications.GNRI
    passage: ClassVar = "Eq. 9 and 10"

    eta: float = option(0.1, "smallest |∂_iF| divided by, sign kept", low=1e-6)

    def step(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        value, gradient = self.linearise(eq, z, gz, self.penalty(eq, z))
        return elementwise(z, value, gradient, self.eta)
