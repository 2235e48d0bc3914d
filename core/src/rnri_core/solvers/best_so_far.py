"""The best point evaluated as the answer, instead of the last proposal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from rnri_core.solvers.equation import Equation
from rnri_core.solvers.solve import Progress
from rnri_core.solvers.wrapper import Wrapper


class State(NamedTuple):
    """``left`` iterations to go, and the inner solver's state."""

    left: int
    inner: Any


@dataclass(frozen=True)
class BestSoFar(Wrapper):
    """The answer is g(z) at the z of the smallest ‖z − g(z)‖ evaluated, whatever the solver proposes last."""

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(max_iter, self.inner.init(z, max_iter))

    def advance(self, eq: Equation, progress: Progress, state: State) -> tuple[Tensor, State]:
        if state.left == 1:
            return progress.answer(progress.best), State(0, state.inner)
        proposal, inner = self.inner.advance(eq, progress, state.inner)
        return proposal, State(state.left - 1, inner)
