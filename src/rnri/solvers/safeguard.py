"""The best point seen so far: where an accelerated method goes back to when it overshoots."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rnri.equation import norm


class Best(NamedTuple):
    """The point with the smallest ‖g(z) − z‖ of each image, g there, and that ``length`` (B, 1, …, 1)."""

    z: Tensor
    gz: Tensor
    length: Tensor | float = math.inf

    def judge(self, z: Tensor, gz: Tensor, growth: float = 1.0) -> tuple[Tensor, Best]:
        """Whether each image's residual grew beyond ``growth`` times the best, (B, 1, …, 1), and the new best."""
        length = norm(gz - z)
        grew, better = ~(length <= growth * self.length), length < self.length
        pairs = ((z, self.z), (gz, self.gz), (length, self.length))
        return grew, Best(*(torch.where(better, new, old) for new, old in pairs))
