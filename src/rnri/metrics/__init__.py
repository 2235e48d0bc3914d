"""How good a picture is: one metric per file, each one number per image."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from rnri.metrics.psnr import psnr

METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "psnr": psnr,
}
"""Name to function of (images, references), both (B, 3, H, W) in [-1, 1]."""

__all__ = ["METRICS", "psnr"]
