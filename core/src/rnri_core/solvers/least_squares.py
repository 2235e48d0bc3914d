"""Small regularised least-squares problems, one per image, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def combine(columns: Sequence[Tensor], target: Tensor, ridge: float) -> list[Tensor]:
    """The weights, each (B, 1, …, 1), whose sum over ``columns`` (each (B, …)) is nearest to ``target``.

    ``ridge`` is relative to the mean squared length of the columns; a column of zeros gets the weight 0, so images
    that no longer move, or have no further direction, do no harm. Solved one image at a time.

    >>> columns = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])]
    >>> [round(weight.item(), 3) for weight in combine(columns, torch.tensor([[3.0, 4.0]]), ridge=0.0)]
    [3.0, 2.0]
    """
    weights = []
    for image in zip(target, *columns, strict=True):
        right, matrix = image[0].flatten(), torch.stack([column.flatten() for column in image[1:]])
        gram = matrix @ matrix.T
        tiny = torch.finfo(gram.dtype).tiny
        damping = (ridge * gram.diagonal().mean()).clamp_min(tiny) * torch.eye(
            len(gram), dtype=gram.dtype, device=gram.device
        )
        weights.append(torch.linalg.solve_ex(gram + damping, matrix @ right).result)
    return [weight.view(-1, *[1] * (target.ndim - 1)) for weight in torch.stack(weights).T]
