"""Chebyshev semi-iteration on the eigenvalue bounds of the schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.solve import Progress

HIGHEST = 0.99
"""Larger eigenvalues are left out whatever the number of iterations: bounds are not that exact."""


class State(NamedTuple):
    """The point before, and the relaxation ω and the upper bound of 1 − ∂g of each image.

    Eigenvalues below ``floor`` and above ``cap`` are left out.
    """

    floor: float
    cap: float
    previous: Tensor
    omega: Tensor
    reach: Tensor | None


@dataclass(frozen=True)
class Chebyshev(Method):
    """z_{k+1} = ω_{k+1}(γ (g(z_k) − z_k) + z_k − z_{k−1}) + z_{k−1}: of all combinations of the points so far, the one
    with the smallest worst-case error when the eigenvalues of ∂g lie in [low, high], the bounds of the equation.

    γ = 2/(2 − low − high); with q = (high − low)/(2 − low − high), ω₁ = 1, ω₂ = 1/(1 − q²/2),
    ω_{k+1} = 1/(1 − ω_k q²/4). An ideal network's sampling step bounds its own eigenvalues (`Step.spectrum`): by 1 next
    to the image, and far below −1 amid much noise where the network predicts flow, velocity or image. So n
    iterations are spent on those between 1 − n/margin and 1 − margin/n, and on none below what the equation expects or
    ``lowest``, whichever is less; a single one is then a fixed-point step. Where a network breaks the bounds and a
    residual grows, that image goes back to its best point and starts afresh with 1 − low doubled.

    >>> from rnri_core.solvers.equation import Equation
    >>> from rnri_core.solvers.solve import solve
    >>> line = Equation(lambda z: 0.6 * z, bounds=(0.0, 0.6))
    >>> round(solve(line, torch.ones(1, 1), Chebyshev(), max_iter=3).z.item(), 3)  # fixed point: 0.6³ = 0.216
    0.023
    """

    source: ClassVar = publications.CHEBYSHEV
    passage: ClassVar = "Part I, the Chebyshev semi-iterative method"
    converges: ClassVar = "lowest=-1"

    margin: float = option(
        1.0, "eigenvalues beyond 1 − margin/n and 1 − n/margin are left out: n iterations are too few", low=0.0
    )
    lowest: float = option(0.0, "smallest eigenvalue planned for, unless the equation expects smaller", high=0.0)
    growth: float = option(1.5, "how far a residual may grow over the best before starting afresh", low=1.0)

    def init(self, z: Tensor, max_iter: int) -> State:
        one = torch.ones(len(z), *[1] * (z.ndim - 1), dtype=z.dtype, device=z.device)
        share = self.margin / max_iter
        floor, cap = 1 - 1 / share if share else -math.inf, min(max(1 - share, 0.0), HIGHEST)
        return State(floor, cap, z, one, None)

    def advance(self, eq: Equation, progress: Progress, state: State) -> tuple[Tensor, State]:
        high = min(eq.bounds[1], state.cap)
        low = min(max(eq.bounds[0], min(eq.lowest, self.lowest), state.floor), high)
        reach = torch.full_like(state.omega, 1 - low) if state.reach is None else state.reach

        grew, z, gz = progress.restart(self.growth)
        reach = torch.where(grew, 2 * reach, reach)
        omega = torch.where(grew, 1.0, state.omega)

        gamma, q = 2 / (reach + 1 - high), (reach - 1 + high) / (reach + 1 - high)
        proposal = omega * (gamma * (gz - z) + z - state.previous) + state.previous
        following = 1 / (1 - torch.where(omega == 1, 2.0, omega) * q**2 / 4)
        return proposal, State(state.floor, state.cap, z, following, reach)
