"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from rnri.metrics.metric import average, check_pair, pixel_metrics

PEAK = 2.0
"""The range of pixel values, −1 to 1."""
CEILING = 100.0
"""What equal pictures score in benchmarks, in dB, so that means exist; 8-bit pictures of 512×512 that differ at all
score 107 dB at most."""


def psnr(image: Tensor, reference: Tensor, where: Tensor | None = None) -> Tensor:
    """PSNR = 10·log₁₀(PEAK² / mean((image − reference)²)) in dB, one number per image: higher is closer.

    Both are (B, 3, H, W) in [-1, 1]; the mean is over channels and pixels, those of ``where`` (B, 1, H, W) if given,
    in float64. Shape (B,), infinite for equal images, not a number where no pixel counts. One reference may serve a
    batch of images. Raises RnriError for sizes that do not fit.

    >>> psnr(torch.full((1, 3, 2, 2), 0.2), torch.zeros(1, 3, 2, 2))
    tensor([20.0000], dtype=torch.float64)
    """
    check_pair(image, reference, where)
    return 10 * torch.log10(PEAK**2 / average((image - reference).square(), where))


PSNR, PSNR_BACKGROUND, PSNR_UNEDIT_PART = pixel_metrics(
    "PSNR", "higher", lambda image, other, where, _: psnr(image, other, where).clamp(max=CEILING), unit="dB"
)
