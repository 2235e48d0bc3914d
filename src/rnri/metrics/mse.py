"""Mean squared error."""

from __future__ import annotations

from torch import Tensor

from rnri.metrics.metric import Metric, average, blackened, check_pair, of_background, to_truth


def mse(image: Tensor, reference: Tensor, where: Tensor | None = None) -> Tensor:
    """MSE = mean(((image − reference)/2)²), of pixel values scaled to [0, 1], one number per image: lower is closer.

    Both are (B, 3, H, W) in [-1, 1]; the mean is over channels and pixels, those of ``where`` (B, 1, H, W) if given.
    Shape (B,), not a number where no pixel counts. Raises ValueError for sizes that do not fit.

    >>> import torch
    >>> mse(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    tensor([0.2500], dtype=torch.float64)
    """
    check_pair(image, reference, where)
    return average(((image - reference) / 2).square(), where)


MSE = Metric(
    "mean squared error to the true picture, range 1",
    "lower",
    to_truth(lambda image, truth, _: mse(image, truth)),
    power=4,
)
MSE_BACKGROUND = Metric(
    "mean squared error of the background to the source's, over its own pixels, range 1",
    "lower",
    of_background(lambda image, source, where, _: mse(image, source, where)),
    power=4,
)
MSE_UNEDIT_PART = Metric(
    "PIE-Bench: mean squared error to the source with the mask black in both, over the whole frame",
    "lower",
    blackened(lambda image, source, _: mse(image, source)),
    power=4,
)
