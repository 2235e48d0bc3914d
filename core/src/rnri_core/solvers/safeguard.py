"""The best point seen so far: where an accelerated method goes back to when it overshoots."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rnri_core.solvers.equation import Equation


class Best(NamedTuple):
    """The point of each image with the smallest residual, g there, and that ``residual`` (B,).

    ``origin`` (B,) is the residual of the point to go on from: the last one, or the best where the last one grew.
    """

    z: Tensor
    gz: Tensor
    residual: Tensor
    origin: Tensor

    @classmethod
    def none(cls, z: Tensor) -> Best:
        """No point seen yet; ``z`` (B, …) gives the shapes."""
        never = torch.full((len(z),), torch.inf, dtype=z.dtype, device=z.device)
        return cls(z, z, never, never)

    def judge(self, eq: Equation, z: Tensor, gz: Tensor, growth: float = 1.0) -> tuple[Tensor, Best]:
        """Whether each image's residual grew beyond ``growth`` times the best, (B, 1, …, 1), and the new best."""
        residual, images = eq.residual(z, gz), (-1, *[1] * (z.ndim - 1))
        grew, better = ~(residual <= growth * self.residual), residual < self.residual
        best, best_gz = (torch.where(better.view(images), *pair) for pair in ((z, self.z), (gz, self.gz)))
        least = torch.where(better, residual, self.residual)
        return grew.view(images), Best(best, best_gz, least, torch.where(grew, least, residual))
