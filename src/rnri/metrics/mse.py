"""Mean squared error."""

from __future__ import annotations

from torch import Tensor

from rnri.metrics.metric import average, check_pair, pixel_metrics


def mse(image: Tensor, reference: Tensor, where: Tensor | None = None) -> Tensor:
    """MSE = mean(((image − reference)/2)²), of pixel values scaled to [0, 1], one number per image: lower is closer.

    Both are (B, 3, H, W) in [-1, 1]; the mean is over channels and pixels, those of ``where`` (B, 1, H, W) if given.
    Shape (B,), not a number where no pixel counts. Raises RnriError for sizes that do not fit.

    >>> import torch
    >>> mse(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    tensor([0.2500], dtype=torch.float64)
    """
    check_pair(image, reference, where)
    return average(((image - reference) / 2).square(), where)


MSE, MSE_BACKGROUND, MSE_UNEDIT_PART = pixel_metrics(
    "mean squared error", "lower", lambda image, other, where, _: mse(image, other, where), ", range 1", power=4
)
