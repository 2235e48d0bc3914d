"""The averaged fixed point of AIDI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method
from rnri_core.solvers.equation import Equation


@dataclass(frozen=True)
class Averaged(Method):
    """z_{k+1} = ½ (g(z_k) + g(z_{k−1})), AIDI_E; the first step is plain.

    >>> import torch
    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), Averaged(), max_iter=100, tol=1e-5)
    >>> round(solution.z.item(), 3), solution.calls
    (0.739, 20)
    """

    source: ClassVar = publications.AIDI
    passage: ClassVar = "AIDI_E, equal weights for the last two values"

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return (gz if state is None else (gz + state) / 2), gz
