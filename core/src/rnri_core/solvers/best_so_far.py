"""The best point seen, instead of one that nobody looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from rnri_core.solvers.equation import Equation
from rnri_core.solvers.safeguard import Best
from rnri_core.solvers.wrapper import Wrapper


class State(NamedTuple):
    """``left`` iterations to go, the best point so far, and the inner solver's state."""

    left: int
    best: Best
    inner: Any


@dataclass(frozen=True)
class BestSoFar(Wrapper):
    """The answer is g(z) at the z of the smallest ‖z − g(z)‖ evaluated, whatever the solver proposes last."""

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(max_iter, Best.none(z), self.inner.init(z, max_iter))

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: State) -> tuple[Tensor, State]:
        _, best = state.best.judge(eq, z, gz)
        if state.left == 1:
            return best.gz, State(0, best, state.inner)
        proposal, inner = self.inner.update(eq, z, gz, state.inner)
        return proposal, State(state.left - 1, best, inner)

    def measured(self, state: State) -> Tensor:
        return state.best.origin
