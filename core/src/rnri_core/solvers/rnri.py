"""Regularised Newton-Raphson inversion, the earlier form of the guided one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import option
from rnri_core.solvers.equation import Equation, dot
from rnri_core.solvers.newton_raphson import NewtonRaphson, Penalty, elementwise
from rnri_core.solvers.step_equation import priors


@dataclass(frozen=True)
class Rnri(NewtonRaphson):
    """F(z) = ‖z − g(z)‖₁ + λ·½‖(g(z) − α x₀)/σ‖², the prior being q(z | x₀); z_i ← z_i − (1/D)·F/∂_iF.

    The gradient is real, through the network, in both terms.

    >>> import torch
    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), Rnri(), max_iter=5)
    >>> round(solution.z.item(), 3), solution.nfe, solution.nvjp
    (0.739, 5, 4)
    """

    source: ClassVar = publications.GNRI
    passage: ClassVar = "versions 2 and 3 (RNRI), the prior as in the published code"

    eta: float = option(0.1, "smallest |∂_iF| divided by, sign kept", low=1e-6)

    def step(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        value, gradient = self.linearise(eq, z, gz, distance(eq, gz))
        return elementwise(z, value, gradient, self.eta)


def distance(eq: Equation, gz: Tensor) -> Penalty:
    """½‖(g(z) − α x₀)/σ‖² per image."""
    step_priors = priors(eq)
    if step_priors is None:
        return Penalty()
    prior = step_priors.image
    away = gz - prior.mean
    return Penalty(0.5 * dot(away, away) / prior.variance, through=away / prior.variance)
