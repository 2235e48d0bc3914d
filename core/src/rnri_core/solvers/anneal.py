"""A prior that fades."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.solvers.base import option
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.newton_raphson import NewtonRaphson
from rnri_core.solvers.solve import Progress
from rnri_core.solvers.wrapper import Wrapper


class State(NamedTuple):
    """The share of λ that is left, and the inner solver's state."""

    share: float
    inner: int


@dataclass(frozen=True)
class Anneal(Wrapper):
    """λ is multiplied by ``rate`` after each iteration: F(z) = 0 ends up at z = g(z), which it misses for λ > 0.

    Only for solvers that have a weight λ.
    """

    rate: float = option(0.5, "the factor of λ after each iteration", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        if not isinstance(self.inner, NewtonRaphson):
            raise RnriError(f"anneal needs a solver with a weight λ, such as gnri, and {self.inner} has none")
        super().__post_init__()

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(1.0, self.inner.init(z, max_iter))

    def advance(self, eq: Equation, progress: Progress, state: State) -> tuple[Tensor, State]:
        assert isinstance(self.inner, NewtonRaphson)
        faded = replace(self.inner, weight=self.inner.weight * state.share)
        proposal, inner = faded.advance(eq, progress, state.inner)
        return proposal, State(state.share * self.rate, inner)
