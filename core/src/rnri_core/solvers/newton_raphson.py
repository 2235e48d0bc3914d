"""The base of the solvers of the GNRI paper: a scalar equation F(z) = 0 per image, and the best g(z) as the answer."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation, dot, l1
from rnri_core.solvers.solve import Progress
from rnri_core.solvers.step_equation import priors


class Penalty(NamedTuple):
    """A prior's value per image, and its gradient ``direct`` + (∂g/∂z)ᵀ ``through``; flat by default."""

    value: Tensor | float = 0.0
    direct: Tensor | float = 0.0
    through: Tensor | float = 0.0


@dataclass(frozen=True)
class NewtonRaphson(Method):
    """F(z) = ‖z − g(z)‖₁ + λ·penalty(z); subclasses define the penalty and the step towards F = 0.

    The answer is g at the best point evaluated, so n iterations cost n calls and at most n − 1 transposed products.
    """

    converges: ClassVar = None

    weight: float = option(0.1, "λ, the weight of the prior", low=0.0)

    def init(self, z: Tensor, max_iter: int) -> int:
        return max_iter

    def advance(self, eq: Equation, progress: Progress, state: int) -> tuple[Tensor, int]:
        """``state`` is the number of iterations to go."""
        z, gz = progress.z, progress.gz
        best = progress.rank(self.score(eq, z, gz))
        return (progress.answer(best) if state == 1 else self.step(eq, z, gz)), state - 1

    def score(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        """The measure by which the best point is chosen: ‖z − g(z)‖₁, shape (B, 1, …, 1)."""
        return l1(z - gz)

    @abstractmethod
    def step(self, eq: Equation, z: Tensor, gz: Tensor) -> Tensor:
        """The next point, (B, …)."""

    def linearise(self, eq: Equation, z: Tensor, gz: Tensor, penalty: Penalty) -> tuple[Tensor, Tensor]:
        """F(z), shape (B, 1, …, 1), and ∇F(z), shape (B, …); one transposed product."""
        sign = (z - gz).sign()
        value = l1(z - gz) + self.weight * penalty.value
        pulled = eq.vjp(z, sign - self.weight * penalty.through)
        return value, sign + self.weight * penalty.direct - pulled


def elementwise(z: Tensor, value: Tensor, gradient: Tensor, eta: float) -> Tensor:
    """z_i − (1/D)·F/g_i, the paper's Eq. 10, with |g_i| kept at least ``eta`` and its sign kept.

    The paper adds η to g_i, which divides by about zero wherever g_i ≈ −η.

    >>> elementwise(torch.zeros(1, 2), torch.ones(1, 1), torch.tensor([[2.0, -0.01]]), eta=0.1)
    tensor([[-0.2500,  5.0000]])
    """
    safe = torch.where(gradient < 0, gradient.clamp_max(-eta), gradient.clamp_min(eta))
    return z - value / (z[0].numel() * safe)


@dataclass(frozen=True)
class Guided(NewtonRaphson):
    """The penalty ‖z − μ‖/β of GNRI, with q(z | z_clean) = N(μ, β I).

    The norm is smoothed, √(‖z − μ‖² + s²): it has no gradient at the usual start z = μ.
    """

    beta: Literal["effective", "dense"] = option(
        "effective", "β over the whole step, or over the last training timestep alone"
    )
    smoothing: float = option(1e-3, "s, which smooths the norm at its tip", low=1e-12)

    def penalty(self, eq: Equation, z: Tensor) -> Penalty:
        step_priors = priors(eq)
        if step_priors is None:
            return Penalty()
        prior = step_priors.effective if self.beta == "effective" else step_priors.dense
        away = z - prior.mean
        length = (dot(away, away) + self.smoothing**2).sqrt()
        return Penalty(length / prior.variance, direct=away / (length * prior.variance))
