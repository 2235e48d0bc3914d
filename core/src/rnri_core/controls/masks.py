"""Masks (B, 1, h, w), 1 where the image may change and 0 where the source is kept: how they are made and applied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rnri_core.controls.base import Context, ControlState, Prediction


class KeepOutside(ControlState):
    """Keeps the source outside a mask that is the same at every step."""

    def __init__(self, context: Context, mask: Tensor, *, nfe: int = 0) -> None:
        self.context, self.fixed, self.nfe = context, mask, nfe

    def mask(self) -> Tensor:
        return self.fixed

    def blend(self, k: int, z: Tensor, prediction: Prediction) -> Tensor:
        return kept_outside(self.fixed, z, self.context.source.latents[k + 1])


def kept_outside(mask: Tensor, z: Tensor, source: Tensor) -> Tensor:
    """Latents (P, C, h, w) with the source's outside a mask: z_source + mask·(z − z_source); the mask is resized.

    >>> kept_outside(torch.tensor([[[[0.0, 1.0]]]]), torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2))
    tensor([[[[0., 1.]]]])
    """
    mask, source = functional.interpolate(mask.to(z), z.shape[-2:], mode="area"), source.to(z)
    return source + mask * (z - source)


def blurred(mask: Tensor, radius: float) -> Tensor:
    """A mask (B, 1, h, w) convolved with a Gaussian; edges are repeated.

    Args:
        mask: the mask.
        radius: standard deviation of the Gaussian, in cells of the mask; 0 leaves the mask as it is.

    >>> blurred(torch.eye(3)[None, None], 0.0)[0, 0, 0]
    tensor([1., 0., 0.])
    """
    if radius == 0:
        return mask
    reach = min(math.ceil(3 * radius), *(side - 1 for side in mask.shape[-2:]))
    offsets = torch.arange(-reach, reach + 1, device=mask.device, dtype=mask.dtype)
    kernel = torch.exp(-0.5 * (offsets / radius) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    for turned in (kernel, kernel.transpose(-1, -2)):
        sides = [reach * (turned.shape[-1] > 1)] * 2 + [reach * (turned.shape[-2] > 1)] * 2
        mask = functional.conv2d(functional.pad(mask, sides, mode="replicate"), turned)
    return mask


def dilated(mask: Tensor, cells: int) -> Tensor:
    """A mask (B, 1, h, w) dilated by this many cells, in a square.

    >>> dilated(torch.tensor([[[[0.0, 0.0, 1.0]]]]), 1)
    tensor([[[[0., 1., 1.]]]])
    """
    return functional.max_pool2d(mask, 2 * cells + 1, 1, cells)


def thresholded(heat: Tensor, threshold: float) -> Tensor:
    """The mask of maps (B, 1, h, w): 1 where a map is at least min + threshold·(max − min), else 0.

    A map that is constant gives a mask of zeros.

    >>> thresholded(torch.tensor([[[[1.0, 2.0, 5.0]]]]), 0.5)
    tensor([[[[0., 0., 1.]]]])
    """
    least, most = heat.amin((1, 2, 3), keepdim=True), heat.amax((1, 2, 3), keepdim=True)
    return ((heat >= least + threshold * (most - least)) & (most > least)).to(heat)


def composite(edited: Tensor, source: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """Images (B, 3, H, W) inside all masks edited, outside the source: source + mask·(edited − source).

    Masks are resized bilinearly with antialiasing and multiplied.

    >>> composite(torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2), [torch.tensor([[[[0.0, 1.0]]]])])[0, 0]
    tensor([[0., 1.]])
    """
    size, share = edited.shape[-2:], torch.ones_like(edited[:, :1])
    for mask in masks:
        fits = mask.shape[-2:] == size
        mask = mask.to(edited)
        share = share * (mask if fits else functional.interpolate(mask, size, mode="bilinear", antialias=True))
    return source + share * (edited - source)
