"""SPDInv's search for the fixed point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation


class State(NamedTuple):
    """Adam's running moments after ``taken`` gradients; -1 before the explicit step that comes first."""

    taken: int
    mean: Tensor
    square: Tensor


@dataclass(frozen=True)
class Spd(Method):
    """One explicit step, then Adam on the mean of (z − g(z))², differentiated through the network.

    The authors take up to 25 such steps of AdamW, whose weight decay of 1e-5 a step is left out here.

    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), Spd(), max_iter=5)
    >>> round(solution.z.item(), 3), solution.nfe, solution.nvjp
    (0.996, 5, 4)
    """

    source: ClassVar = publications.SPDINV
    passage: ClassVar = "Algorithm 1"
    converges: ClassVar = None

    rate: float = option(1e-3, "the length of a step, per element", low=1e-6, high=1.0)

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(-1, torch.zeros_like(z), torch.zeros_like(z))

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: State) -> tuple[Tensor, State]:
        taken = state.taken + 1
        if taken == 0:
            return gz, state._replace(taken=0)
        r = z - gz
        gradient = 2 / z[0].numel() * (r - eq.vjp(z, r))
        mean = 0.9 * state.mean + 0.1 * gradient
        square = 0.999 * state.square + 0.001 * gradient * gradient
        direction = (mean / (1 - 0.9**taken)) / ((square / (1 - 0.999**taken)).sqrt() + 1e-8)
        return z - self.rate * direction, State(taken, mean, square)
