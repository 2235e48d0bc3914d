"""The mask of what an edit changed on purpose, between registered images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rnri_core.controls.masks import blurred

WORKING = 640
"""Longest side, in pixels, at which the mask is found; larger images are found it at that size."""
SCALES = (1.0, 2.0, 4.0)
"""Standard deviations, in working pixels, of the blurs at which images are compared."""
BINS = 12
SEED, LEAST = 2.0, 0.6
"""Multiples of the noise bound: a change begins above the first, and reaches to the second."""


def changed(
    original: Tensor, edited: Tensor, *, threshold: float = 1.0, dilate: float = 0.003, feather: float = 0.006
) -> Tensor:
    """The weight (1, 1, H, W) in [0, 1] of the edited image in a composite, exactly 0 wherever nothing was changed.

    Both images are compared after blurs of three widths. A difference counts as a change where it exceeds the noise
    of re-encoding, whose bound is estimated from the image pair itself: in bins of equal local contrast, from the
    quieter 60 % of the pixels. Regions start at twice the bound, extend to 0.6 of it, have their holes filled, are
    dilated, and fade out beyond that, so that the seam lies where both images agree.

    Args:
        original: (1, 3, H, W) in [−1, 1].
        edited: the same shape, registered.
        threshold: factor of the bound; smaller values find more changes.
        dilate: width of the dilation, as a share of the longer side.
        feather: width of the fade, as a share of the longer side.

    >>> image = torch.zeros(1, 3, 64, 64)
    >>> other = image.clone()
    >>> other[..., 20:40, 20:40] = 0.8
    >>> mask = changed(image, other)
    >>> mask[0, 0, 30, 30].item(), mask[0, 0, 5, 5].item()
    (1.0, 0.0)
    """
    height, width = original.shape[-2:]
    factor = min(1.0, WORKING / max(height, width))
    size = (max(8, round(height * factor)), max(8, round(width * factor)))
    if factor < 1:
        original, edited = (
            functional.interpolate(each, size=size, mode="bilinear", antialias=True) for each in (original, edited)
        )
    side = max(size)
    region = _region([_excess(original, edited, sigma) / threshold for sigma in SCALES])
    weight = _faded(_grown(region, math.ceil(dilate * side)), math.ceil(feather * side))
    return functional.interpolate(weight, size=(height, width), mode="bilinear") if factor < 1 else weight


def _region(excesses: Sequence[Tensor]) -> Tensor:
    """Where differences of some scale exceed their bound, connected to one well above it, holes filled."""
    within, seeds = [], []
    for sigma, excess in zip(SCALES, excesses, strict=True):
        reach = round(sigma) - 1  # a blur carries a change about so far out of its own outline
        within.append(_eroded(excess > LEAST, reach))
        seeds.append(functional.avg_pool2d((excess > SEED).float(), 3, 1, 1) > 0.6)
    any_within = torch.stack(within).any(0)
    return _filled(_reached(torch.stack(seeds).any(0), any_within))


def _eroded(region: Tensor, radius: int) -> Tensor:
    return _grown((~region).float(), radius) < 0.5


def _soft(pixels: Tensor, sigma: float) -> Tensor:
    """Pixels (B, C, H, W) after a Gaussian blur, each channel alone."""
    return blurred(pixels.flatten(0, 1)[:, None], sigma).view_as(pixels)


def _excess(original: Tensor, edited: Tensor, sigma: float) -> Tensor:
    """The difference (1, 1, H, W) of images blurred by ``sigma``, in multiples of what re-encoding causes there."""
    difference = _soft(edited - original, sigma).square().mean(1, keepdim=True).sqrt()
    contrast = _soft((original - _soft(original, 2 * sigma)).square().mean(1, keepdim=True), sigma).sqrt()
    return difference / _bound(difference, contrast)


def _bound(difference: Tensor, contrast: Tensor) -> Tensor:
    """The largest difference (1, 1, H, W) that is taken for noise, from those at pixels of the same contrast.

    In each of some bins of equal count it is the median and six deviations, estimated from the quieter 60 %, rising
    with contrast and between an absolute floor and ceiling.
    """
    levels, order = contrast.flatten().sort()
    sizes = difference.flatten()[order]
    centres, bounds = [], []
    for level, size in zip(levels.tensor_split(BINS), sizes.tensor_split(BINS), strict=True):
        low, high = size.quantile(torch.tensor([0.3, 0.6], device=size.device, dtype=size.dtype))
        centres.append(level.mean())
        bounds.append((high + 5 * (high - low)).clamp(0.02, 0.25))
    x, y = torch.stack(centres), torch.stack(bounds).cummax(0).values
    slot = torch.bucketize(contrast, x).clamp(1, BINS - 1)
    share = ((contrast - x[slot - 1]) / (x[slot] - x[slot - 1]).clamp_min(1e-9)).clamp(0, 1)
    return torch.lerp(y[slot - 1], y[slot], share)


def _grown(mask: Tensor, radius: int) -> Tensor:
    """A mask (B, 1, H, W) dilated by an octagon."""
    for k in range(radius):
        mask = _grown_once(mask, k)
    return mask


def _grown_once(mask: Tensor, k: int) -> Tensor:
    """A mask dilated by a pixel, the k-th of several: squares and crosses by turns make an octagon."""
    if k % 2 == 0:
        return functional.max_pool2d(mask, 3, 1, 1)
    across, down = functional.max_pool2d(mask, (1, 3), 1, (0, 1)), functional.max_pool2d(mask, (3, 1), 1, (1, 0))
    return torch.maximum(across, down)


def _reached(seeds: Tensor, within: Tensor) -> Tensor:
    """The regions of ``within`` that hold a seed, (1, 1, H, W), 0 or 1."""
    limit, region = within.float(), (seeds & within).float()
    while True:
        grown = torch.minimum(functional.max_pool2d(region, 3, 1, 1), limit)
        if torch.equal(grown, region):
            return region
        region = grown


def _filled(region: Tensor) -> Tensor:
    """Regions (1, 1, H, W) with their holes closed: what the border does not reach through what is no region."""
    closed = 1 - _grown(1 - _grown(region, 2), 2)
    border = torch.ones_like(closed)
    border[..., 1:-1, 1:-1] = 0
    outside = _reached(border.bool(), closed < 0.5)
    return torch.maximum(region, 1 - outside)


def _faded(region: Tensor, feather: int) -> Tensor:
    """1 on the region (1, 1, H, W), falling smoothly to 0 over ``feather`` pixels outside of it, and 0 beyond."""
    weight, grown = region, region
    for k in range(feather):
        grown = _grown_once(grown, k)
        share = 1 - (k + 1) / (feather + 1)
        weight = torch.maximum(weight, grown * (share * share * (3 - 2 * share)))
    return weight
