"""Guided Newton-Raphson inversion, as the paper writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from rnri.equation import Equation, dot
from rnri.solvers import sources
from rnri.solvers.method import option
from rnri.solvers.newton_raphson import NewtonRaphson, Penalty, elementwise


@dataclass(frozen=True)
class Gnri(NewtonRaphson):
    """F(z) = ‖z − g(z)‖₁ + λ·‖z − μ‖/β with q(z | z_clean) = N(μ, β I); z_i ← z_i − (1/D)·F/∂_iF.

    The gradient is real, through the network. The norm is smoothed, √(‖z − μ‖² + s²), since it has no gradient at
    the usual start z = μ. F has no root at the true inverse when λ > 0, so the best g(z) seen is returned.
    """

    source: ClassVar = sources.GNRI
    equation: ClassVar = "Eq. 9 and 10"

    eta: float = option(0.1, "smallest |∂_iF| divided by, sign kept", low=1e-6)
    beta: Literal["effective", "dense"] = option(
        "effective", "β over the whole step, or over the last training timestep alone"
    )
    smoothing: float = option(1e-3, "s, which rounds off the norm at its tip", low=1e-12)

    def step(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        value, gradient = self.linearise(eq, z, gz, self._penalty(eq, z))
        return elementwise(z, value, gradient, self.eta)

    def _penalty(self, eq: Equation, z: Tensor) -> Penalty:
        prior = eq.prior(self.beta)
        if prior is None:
            return Penalty()
        away = z - prior.mean
        length = (dot(away, away) + self.smoothing**2).sqrt()
        return Penalty(length / prior.variance, direct=away / (length * prior.variance))
