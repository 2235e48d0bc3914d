"""Chebyshev semi-iteration on bounds that the schedule gives away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rnri.equation import Equation
from rnri.solvers import sources
from rnri.solvers.method import Method, option
from rnri.solvers.safeguard import Best

HIGHEST = 0.99
"""Eigenvalues above this are given up whatever the number of iterations: bounds are not that exact."""


class State(NamedTuple):
    """The point before, the relaxation ω and the upper bound of 1 − ∂g of each image, and the best point seen.

    Eigenvalues above ``cap`` are given up.
    """

    cap: float
    previous: Tensor
    omega: Tensor
    reach: Tensor | None
    best: Best


@dataclass(frozen=True)
class Chebyshev(Method):
    """z_{k+1} = ω_{k+1}(γ (g(z_k) − z_k) + z_k − z_{k−1}) + z_{k−1}: of all combinations of the points so far, the one
    with the smallest worst-case error when the eigenvalues of ∂g lie in [low, high], the bounds of the equation.

    γ = 2/(2 − low − high); with q = (high − low)/(2 − low − high), ω₁ = 1, ω₂ = 1/(1 − q²/2),
    ω_{k+1} = 1/(1 − ω_k q²/4). Eigenvalues may come up to 1 (next to the image); n iterations are spent on those up to
    1 − margin/n. On an ideal network a sampling step bounds its own eigenvalues (`Step.spectrum`). It allows negative
    ones where the network states the velocity or the image, for a picture that is all but known; they are planned for
    only down to ``lowest``. Where a network breaks the bounds and a residual grows, that image goes back to its best
    point and starts afresh with 1 − low doubled.
    """

    source: ClassVar = sources.CHEBYSHEV
    passage: ClassVar = "semi-iterative form"

    margin: float = option(
        1.0, "eigenvalues above 1 − margin/n are given up: n iterations are too few for them", low=0.0
    )
    lowest: float = option(0.0, "smallest eigenvalue planned for, where the bounds allow smaller", high=1.0)
    growth: float = option(1.5, "how far a residual may grow over the best before starting afresh", low=1.0)

    def init(self, z: Tensor, max_iter: int) -> State:
        one = torch.ones(len(z), *[1] * (z.ndim - 1), dtype=z.dtype, device=z.device)
        return State(min(max(1 - self.margin / max_iter, 0.0), HIGHEST), z, one, None, Best.none(z))

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: State) -> tuple[Tensor, State]:
        high = min(eq.bounds[1], state.cap)
        low = min(max(eq.bounds[0], self.lowest), high)
        reach = torch.full_like(state.omega, 1 - low) if state.reach is None else state.reach

        grew, best = state.best.judge(eq, z, gz, self.growth)
        reach = torch.where(grew, 2 * reach, reach)
        omega = torch.where(grew, 1.0, state.omega)
        z, gz = torch.where(grew, best.z, z), torch.where(grew, best.gz, gz)

        gamma, q = 2 / (reach + 1 - high), (reach - 1 + high) / (reach + 1 - high)
        proposal = omega * (gamma * (gz - z) + z - state.previous) + state.previous
        following = 1 / (1 - torch.where(omega == 1, 2.0, omega) * q**2 / 4)
        return proposal, State(state.cap, z, following, reach, best)

    def measured(self, state: State) -> Tensor:
        return state.best.origin
