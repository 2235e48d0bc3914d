"""What the controls share that keep part of the picture: a mask, 1 where it may change and 0 where it stays."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from rnri.controls.base import Bound


class Kept(Bound):
    """Goes back to the source outside the mask: after each step in the latents, at last in the picture."""

    @abstractmethod
    def mask(self) -> Tensor:
        """The mask as it stands after the steps taken so far."""

    def blend(self, k: int, z: Tensor) -> Tensor:
        mask = functional.interpolate(self.mask().to(z), z.shape[-2:], mode="area")
        source = self.job.source.latents[k + 1].to(z)
        return source + mask * (z - source)


def blurred(mask: Tensor, radius: float) -> Tensor:
    """A mask (B, 1, h, w) under a Gaussian of this standard deviation in its own cells; edges are repeated.

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


def parted(heat: Tensor, threshold: float, dilate: int, blur: float) -> Tensor:
    """A mask from maps (B, 1, h, w): where a map is this share of the way from its least to its most, or more.

    It is then grown by so many cells, and blurred. A map that is the same everywhere is a mask of zeros.

    >>> parted(torch.tensor([[[[1.0, 2.0, 5.0]]]]), 0.5, 0, 0.0)
    tensor([[[[0., 0., 1.]]]])
    """
    least, most = heat.amin((1, 2, 3), keepdim=True), heat.amax((1, 2, 3), keepdim=True)
    mask = ((heat >= least + threshold * (most - least)) & (most > least)).to(heat)
    return blurred(functional.max_pool2d(mask, 2 * dilate + 1, 1, dilate), blur)
