"""A perceptual distance that needs no download: features of the attribute reader of the embedded scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from rnri.metrics.lpips import share
from rnri.metrics.metric import average, check_pair, pixel_metrics, shared
from rnri.scenes.reader import Reader


@torch.no_grad()
def reader_distance(image: Tensor, reference: Tensor, reader: Reader, where: Tensor | None = None) -> Tensor:
    """A distance formed as LPIPS is, on the reader's trunk and without learned weights: lower is closer.

    With y the features of unit length at each layer l of the trunk of :class:`rnri.scenes.reader.Network`:

        mean over l of mean over h, w of Σ_c (y_lchw − y′_lchw)²

    It means something for pictures of the embedded scenes only, and is not comparable to LPIPS. Both are (B, 3, H, W)
    in [-1, 1]; they are scaled to the reader's size. With ``where`` (B, 1, H, W) means are weighted by the share of it
    under each feature, and other pixels are taken from the reference. Shape (B,), in [0, 2], not a number where no
    pixel counts. Raises RnriError for sizes that do not fit.
    """
    check_pair(image, reference, where)
    ours, theirs = reader.features(shared(image, reference, where)), reader.features(reference)
    total = torch.zeros(len(image), dtype=torch.float64, device=ours[0].device)
    for one, other in zip(ours, theirs, strict=True):
        one, other = (torch.nn.functional.normalize(each, dim=1, eps=1e-10) for each in (one, other))
        distance = (one - other).square().sum(1, keepdim=True)
        total = total + average(distance, None if where is None else share(where.to(distance.device), distance))
    return total / len(ours)


READER_DISTANCE, READER_DISTANCE_BACKGROUND, _ = pixel_metrics(
    "distance of the reader's features",
    "lower",
    lambda image, other, where, networks: reader_distance(image, other, networks.reader, where),
    power=3,
)
