"""ReNoise's averaging of repeated network calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rnri.equation import Equation
from rnri.solvers import sources
from rnri.solvers.method import Method, option


class State(NamedTuple):
    """``left`` iterations to go, and the latest g(z)."""

    left: int
    recent: tuple[Tensor, ...]


@dataclass(frozen=True)
class Renoise(Method):
    """z ← g(z), and at the end the mean of the last ``window`` values of g.

    g is affine in the network's output, so this averages outputs as the paper does. Its noise regularisation and
    noise correction are not part of the solver.
    """

    source: ClassVar = sources.RENOISE
    passage: ClassVar = "Algorithm 1, averaging only"

    window: int = option(2, "how many of the last values are averaged", low=1)

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(max_iter, ())

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: State) -> tuple[Tensor, State]:
        recent = (*state.recent, gz)[-self.window :]
        point = torch.stack(recent).mean(0) if state.left == 1 else gz
        return point, State(state.left - 1, recent)
