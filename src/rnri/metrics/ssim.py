"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004)."""

from __future__ import annotations

import numpy as np
import torch
from rnri_core.errors import RnriError
from torch import Tensor

from rnri.metrics.metric import average, check_pair, pixel_metrics, shared

SIGMA, RADIUS = 1.5, 5
"""Deviation of the Gaussian window in pixels, and its reach to each side."""


def ssim(image: Tensor, reference: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean SSIM under an 11×11 Gaussian window, one number per image: higher is closer, 1 for equal images.

    With μ, σ² and σ₁₂ the window's weighted means, variances and covariance (equation 13 of the paper)

        SSIM = (2μ₁μ₂ + C₁)(2σ₁₂ + C₂) / ((μ₁² + μ₂² + C₁)(σ₁² + σ₂² + C₂)),    C = (0.01)², (0.03)²

    of pixel values scaled to [0, 1], averaged over channels and over all windows that lie in the frame. Both are
    (B, 3, H, W) in [-1, 1], at least 11 pixels to a side. With ``where`` (B, 1, H, W) only windows centred there
    count, and other pixels are taken from the reference. Shape (B,), not a number where no window counts. Raises
    RnriError for sizes that do not fit.

    >>> ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([1.], dtype=torch.float64)
    """
    from skimage.metrics import structural_similarity

    check_pair(image, reference, where)
    if min(image.shape[2:]) < 2 * RADIUS + 1:
        raise RnriError(
            f"images of shape {tuple(image.shape)} are too small for SSIM", hint="give 11 pixels a side or more"
        )
    one, two = (((each.double() + 1) / 2).cpu().numpy() for each in (shared(image, reference, where), reference))
    maps = [
        structural_similarity(
            each,
            other,
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=SIGMA,
            use_sample_covariance=False,
            full=True,
        )[1]
        for each, other in zip(one, np.broadcast_to(two, one.shape), strict=True)
    ]
    centres = slice(RADIUS, -RADIUS)
    similarity = torch.from_numpy(np.stack(maps))[..., centres, centres]
    return average(similarity, None if where is None else where[..., centres, centres].cpu())


SSIM, SSIM_BACKGROUND, SSIM_UNEDIT_PART = pixel_metrics(
    "structural similarity", "higher", lambda image, other, where, _: ssim(image, other, where), power=2
)
