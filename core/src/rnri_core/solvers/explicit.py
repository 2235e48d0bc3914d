"""Explicit inversion: one evaluation at the known point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method
from rnri_core.solvers.equation import Equation


@dataclass(frozen=True)
class Explicit(Method):
    """z = g(z⁰): DDIM inversion when z⁰ is the clean end of the step. One call, biased by how far g moves.

    >>> import torch
    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), Explicit(), max_iter=5)
    >>> round(solution.z.item(), 3), solution.nfe, solution.nvjp
    (1.0, 1, 0)
    """

    source: ClassVar = publications.DDIM
    passage: ClassVar = "Section 4.3, the sampler reversed"
    converges: ClassVar = None
    max_iter: ClassVar = 1

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: None) -> tuple[Tensor, None]:
        return gz, None
