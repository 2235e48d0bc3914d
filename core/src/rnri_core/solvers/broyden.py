"""Broyden's method with limited memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation, dot
from rnri_core.solvers.safeguard import Best


class State(NamedTuple):
    """The last point and residual z − g(z); H = I + Σ u vᵀ, the approximate inverse Jacobian; the best point seen."""

    last: tuple[Tensor, Tensor] | None
    updates: tuple[tuple[Tensor, Tensor], ...]
    best: Best


@dataclass(frozen=True)
class Broyden(Method):
    """z ← z − H r, r = z − g(z), with H ← H + (s − H y) (Hᵀs)ᵀ / (s·H y) from the last move s and its change y of r.

    Starts from H = I, a fixed-point step. Where a residual grows, that image goes back to its best point and steps
    from there, having learnt from the bad one.
    """

    source: ClassVar = publications.BROYDEN
    passage: ClassVar = "the first ('good') update, in inverse form"

    memory: int = option(20, "how many updates are kept before starting over from H = I", low=1, high=100)
    growth: float = option(2.0, "how far a residual may grow over the best before going back", low=1.0)

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(None, (), Best.none(z))

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: State) -> tuple[Tensor, State]:
        r, updates = z - gz, state.updates if len(state.updates) < self.memory else ()
        if state.last is not None:
            s, hy = z - state.last[0], _apply(updates, r - state.last[1])
            hs = _apply(tuple((v, u) for u, v in updates), s)
            scale = dot(s, hy)
            small = scale.abs() <= torch.finfo(z.dtype).eps * dot(s, s)
            u = torch.where(small, 0.0, (s - hy) / torch.where(small, 1.0, scale))
            updates = (*updates, (u, hs))
        grew, best = state.best.judge(eq, z, gz, self.growth)
        z, r = torch.where(grew, best.z, z), torch.where(grew, best.z - best.gz, r)
        return z - _apply(updates, r), State((z, r), updates, best)

    def measured(self, state: State) -> Tensor:
        return state.best.origin


def _apply(updates: tuple[tuple[Tensor, Tensor], ...], x: Tensor) -> Tensor:
    """(I + Σ u vᵀ) x."""
    product = x
    for u, v in updates:
        product = product + u * dot(v, x)
    return product
