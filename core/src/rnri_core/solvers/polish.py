"""Fixed-point steps after another solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from rnri_core.solvers.base import option
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.solve import Progress
from rnri_core.solvers.wrapper import Wrapper


class State(NamedTuple):
    """``left`` iterations of the inner solver to go, and its state."""

    left: int
    inner: Any


@dataclass(frozen=True)
class Polish(Wrapper):
    """The last ``steps`` iterations are z ← g(z).

    For a solver that stops near the root or has another root, as GNRI does for λ > 0. Of no more than ``steps``
    iterations all are polish.
    """

    steps: int = option(1, "how many of the iterations are fixed-point steps", low=1, high=1000)

    def most(self) -> int | None:
        return None if self.inner.max_iter is None else self.inner.max_iter + self.steps

    def init(self, z: Tensor, max_iter: int) -> State:
        left = max(max_iter - self.steps, 0)
        return State(left, self.inner.init(z, left) if left else None)

    def advance(self, eq: Equation, progress: Progress, state: State) -> tuple[Tensor, State]:
        if state.left == 0:
            return progress.gz, state
        proposal, inner = self.inner.advance(eq, progress, state.inner)
        return proposal, State(state.left - 1, inner)
