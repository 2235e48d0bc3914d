"""Fixed-point iteration whose step length follows, for each image, from its last two points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation, dot
from rnri_core.solvers.solve import Progress

State = tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class BarzilaiBorwein(Method):
    """z ← z + ω f, f = g(z) − z, with ω = −Δz·Δf/‖Δf‖² from the last move Δz and its change Δf; the first ω is 1.

    On an ideal network 1 − ∂g is symmetric with eigenvalues λ ≥ 0, and ω is the inverse of their mean, weighted by
    where the last move went: it sweeps over the spectrum that is there, not one that is assumed. ω stays between
    ``shortest`` and ``longest``. Where a residual grows, that image goes back to its best point and steps from
    there, with the ω that follows from the worse one.

    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), BarzilaiBorwein(), max_iter=100, tol=1e-5)
    >>> round(solution.z.item(), 3), solution.calls
    (0.739, 6)
    """

    source: ClassVar = publications.BARZILAI_BORWEIN
    passage: ClassVar = "the step length Δx·Δg/Δg·Δg of the two (BB2)"

    shortest: float = option(0.5, "the smallest ω", low=0.01, high=1.0)
    longest: float = option(4.0, "the largest ω", low=1.0, high=100.0)
    growth: float = option(2.0, "how far a residual may grow over the best before going back", low=1.0)

    def advance(self, eq: Equation, progress: Progress, state: State) -> tuple[Tensor, State]:
        """``state`` is the point last stepped from with f there."""
        z, gz = progress.z, progress.gz
        f, omega = gz - z, torch.ones_like(dot(z, z))
        if state is not None:
            dz, df = z - state[0], f - state[1]
            omega = -dot(dz, df) / dot(df, df)
            omega = torch.where(omega > 0, omega, 1.0).clamp(self.shortest, self.longest)
        _, z, gz = progress.restart(self.growth)
        f = gz - z
        return z + omega * f, (z, f)
