"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004)."""

from __future__ import annotations

import torch
from rnri_core.errors import RnriError
from torch import Tensor

from rnri.metrics.metric import Metric, average, blackened, check_pair, of_background, shared, to_truth

SIGMA, RADIUS = 1.5, 5
"""Deviation of the Gaussian window in pixels, and how many of them it reaches to each side."""
_K1, _K2 = 0.01, 0.03


def ssim(image: Tensor, reference: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean SSIM under an 11×11 Gaussian window, one number per image: higher is closer, 1 for equal images.

    With μ, σ² and σ₁₂ the window's weighted means, variances and covariance (equation 13 of the paper)

        SSIM = (2μ₁μ₂ + C₁)(2σ₁₂ + C₂) / ((μ₁² + μ₂² + C₁)(σ₁² + σ₂² + C₂)),    C = (0.01)², (0.03)²

    of pixel values scaled to [0, 1], averaged over channels and over all windows that lie in the frame. Both are
    (B, 3, H, W) in [-1, 1], at least 11 pixels to a side. With ``where`` (B, 1, H, W) only windows centred there
    count, and other pixels are taken from the reference. Shape (B,), not a number where no window counts. Raises
    ValueError for sizes that do not fit.

    >>> ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([1.], dtype=torch.float64)
    """
    check_pair(image, reference, where)
    if min(image.shape[2:]) < 2 * RADIUS + 1:
        raise RnriError(
            f"images of shape {tuple(image.shape)} are too small for SSIM", hint="give 11 pixels a side or more"
        )
    one, two = (shared(image, reference, where).double() + 1) / 2, (reference.double() + 1) / 2
    mean1, mean2 = _smooth(one), _smooth(two)
    variance1, variance2 = _smooth(one * one) - mean1 * mean1, _smooth(two * two) - mean2 * mean2
    covariance = _smooth(one * two) - mean1 * mean2
    c1, c2 = _K1**2, _K2**2
    similarity = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean1 * mean1 + mean2 * mean2 + c1) * (variance1 + variance2 + c2))
    centres = slice(RADIUS, -RADIUS)
    return average(similarity, None if where is None else where[..., centres, centres])


def _smooth(pixels: Tensor) -> Tensor:
    """Weighted means of the windows that lie in the frame: (B, C, H, W) to (B, C, H − 10, W − 10)."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=pixels.dtype, device=pixels.device)
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    weights = weights / weights.sum()
    channels = pixels.shape[1]
    rows = weights.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    columns = weights.view(1, 1, 1, -1).expand(channels, -1, -1, -1)
    return torch.nn.functional.conv2d(
        torch.nn.functional.conv2d(pixels, rows, groups=channels), columns, groups=channels
    )


SSIM = Metric(
    "structural similarity to the true picture",
    "higher",
    to_truth(lambda image, truth, _: ssim(image, truth)),
    power=2,
)
SSIM_BACKGROUND = Metric(
    "structural similarity of the background to the source's, over its own pixels",
    "higher",
    of_background(lambda image, source, where, _: ssim(image, source, where)),
    power=2,
)
SSIM_UNEDIT_PART = Metric(
    "PIE-Bench: structural similarity to the source with the mask black in both, over the whole frame",
    "higher",
    blackened(lambda image, source, _: ssim(image, source)),
    power=2,
)
