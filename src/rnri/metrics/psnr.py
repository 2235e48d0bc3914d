"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

PEAK = 2.0
"""The range of pixel values, −1 to 1."""


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """PSNR = 10·log₁₀(PEAK² / mean((image − reference)²)) in dB, one number per image: higher is closer.

    Both are (B, 3, H, W) in [-1, 1]; the mean is over pixels and channels, in float64. Shape (B,), infinite for equal
    images. One reference may serve a batch of images. Raises ValueError for sizes that do not fit.

    >>> psnr(torch.full((1, 3, 2, 2), 0.2), torch.zeros(1, 3, 2, 2))
    tensor([20.0000], dtype=torch.float64)
    """
    if image.shape[1:] != reference.shape[1:] or len(reference) not in (1, len(image)):
        shapes = f"{tuple(image.shape)} and {tuple(reference.shape)}"
        raise ValueError(f"images of shapes {shapes} cannot be compared: resize one to the other")
    error = (image - reference).square().flatten(1).mean(1, dtype=torch.float64)
    return 10 * torch.log10(PEAK**2 / error)
