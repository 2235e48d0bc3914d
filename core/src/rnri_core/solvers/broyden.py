"""Broyden's method with limited memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation, dot
from rnri_core.solvers.solve import Progress


class State(NamedTuple):
    """The point last stepped from with r = z − g(z) there, and H = I + Σ u vᵀ, the approximate inverse Jacobian."""

    last: tuple[Tensor, Tensor] | None
    updates: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Broyden(Method):
    """z ← z − H r, r = z − g(z), with H ← H + (s − H y) (Hᵀs)ᵀ / (s·H y) from the last move s and its change y of r.

    Starts from H = I, a fixed-point step. Where a residual grows, that image goes back to its best point and steps
    from there; its update keeps the difference to the worse point.

    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), Broyden(), max_iter=100, tol=1e-5)
    >>> round(solution.z.item(), 3), solution.calls
    (0.739, 6)
    """

    source: ClassVar = publications.BROYDEN
    passage: ClassVar = "the first ('good') update, in inverse form"

    memory: int = option(20, "how many updates are kept before starting over from H = I", low=1, high=100)
    growth: float = option(2.0, "how far a residual may grow over the best before going back", low=1.0)

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(None, ())

    def advance(self, eq: Equation, progress: Progress, state: State) -> tuple[Tensor, State]:
        z, gz = progress.z, progress.gz
        r, updates = z - gz, state.updates if len(state.updates) < self.memory else ()
        if state.last is not None:
            s, hy = z - state.last[0], _apply(updates, r - state.last[1])
            hs = _apply(tuple((v, u) for u, v in updates), s)
            scale = dot(s, hy)
            small = scale.abs() <= torch.finfo(z.dtype).eps * dot(s, s)
            u = torch.where(small, 0.0, (s - hy) / torch.where(small, 1.0, scale))
            updates = (*updates, (u, hs))
        _, z, gz = progress.restart(self.growth)
        r = z - gz
        return z - _apply(updates, r), State((z, r), updates)


def _apply(updates: tuple[tuple[Tensor, Tensor], ...], x: Tensor) -> Tensor:
    """(I + Σ u vᵀ) x."""
    product = x
    for u, v in updates:
        product = product + u * dot(v, x)
    return product
