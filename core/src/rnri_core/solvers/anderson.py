"""Anderson acceleration, regularised and safeguarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.least_squares import combine
from rnri_core.solvers.solve import Progress


class State(NamedTuple):
    """The point last stepped from with f = g(z) − z there, and the latest differences of both."""

    last: tuple[Tensor, Tensor] | None
    points: tuple[Tensor, ...]
    residuals: tuple[Tensor, ...]


@dataclass(frozen=True)
class Anderson(Method):
    """z_{k+1} = z_k + β f_k − Σ_j w_j (Δz_j + β Δf_j), f = g(z) − z, with w the least-squares fit of f_k by the Δf_j.

    AIDI_A is this on a sampling step. Where a residual grows, that image goes back to its best point and steps from
    there, with the difference to the worse point in its memory.

    >>> import torch
    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), Anderson(), max_iter=100, tol=1e-5)
    >>> round(solution.z.item(), 3), solution.calls
    (0.739, 7)
    """

    source: ClassVar = publications.ANDERSON
    passage: ClassVar = "Algorithm AA, as an unconstrained least-squares problem; AIDI_A of Pan et al., ICCV 2023"
    further: ClassVar = (publications.AIDI,)

    memory: int = option(3, "how many differences are kept", low=1, high=50)
    mixing: float = option(1.0, "β, the share of the residual that is added", low=0.01, high=2.0)
    ridge: float = option(1e-5, "regularisation, relative to the squared length of the differences", low=0.0)
    growth: float = option(2.0, "how far a residual may grow over the best before going back", low=1.0)

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(None, (), ())

    def advance(self, eq: Equation, progress: Progress, state: State) -> tuple[Tensor, State]:
        z, gz = progress.z, progress.gz
        f, points, residuals = gz - z, state.points, state.residuals
        if state.last is not None:
            points = (*points, z - state.last[0])[-self.memory :]
            residuals = (*residuals, f - state.last[1])[-self.memory :]
        _, z, gz = progress.restart(self.growth)
        f = gz - z
        proposal = z + self.mixing * f
        if residuals:
            for weight, dz, df in zip(combine(residuals, f, self.ridge), points, residuals, strict=True):
                proposal = proposal - weight * (dz + self.mixing * df)
        return proposal, State((z, f), points, residuals)
