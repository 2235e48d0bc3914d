"""Composites of an original and its edit by another editor: the original's pixels wherever nothing was edited."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rnri_core.composite.change import changed
from rnri_core.composite.registration import Registration, register
from rnri_core.errors import RnriError

__all__ = ["Composite", "Registration", "changed", "composite", "register"]


@dataclass(frozen=True, eq=False)
class Composite:
    """An edited image with the original's pixels wherever nothing was edited.

    Attributes:
        image: (1, 3, H, W) in [−1, 1]; equal to the original, to the bit, where ``mask`` is 0.
        mask: weight of the edited image, (1, 1, H, W) in [0, 1].
        registration: the shift, scale and tint that were undone.
    """

    image: Tensor
    mask: Tensor
    registration: Registration

    @property
    def preserved(self) -> float:
        """Share of the pixels that are the original's."""
        return (self.mask == 0).float().mean().item()


def composite(
    original: Tensor,
    edited: Tensor,
    *,
    threshold: float = 1.0,
    dilate: float = 0.003,
    feather: float = 0.006,
    tint: bool = True,
) -> Composite:
    """Composite an edited image and its original, with global shift, scale and tint undone.

        image = mask·undo(edited) + (1 − mask)·original

    Args:
        original: (1, 3, H, W) in [−1, 1].
        edited: (1, 3, h, w) in [−1, 1], of any size; it is scaled to the original's.
        threshold: differences that count as changes, in multiples of the noise of re-encoding; see :func:`changed`.
        dilate: width by which the mask is dilated, as a share of the longer side.
        feather: width over which the mask fades out, as a share of the longer side.
        tint: undo a tint of the whole image as well.

    Raises:
        RnriError: for tensors that are no single image, or values that are not finite.

    >>> image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> composite(image, image).preserved
    1.0
    """
    for name, image in (("original", original), ("edited", edited)):
        if image.ndim != 4 or image.shape[:2] != (1, 3) or min(image.shape[-2:]) < 8:
            raise RnriError(
                f"{name} has shape {tuple(image.shape)}",
                hint="give one image (1, 3, H, W) of 8 pixels or more",
                field=name,
            )
        if not image.isfinite().all():
            raise RnriError(f"{name} has pixels that are not finite", hint="give values in [−1, 1]", field=name)
    size = original.shape[-2:]
    scaled = edited.to(original)
    if edited.shape[-2:] != size:
        scaled = functional.interpolate(scaled, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
    fit = register(original, scaled, tint=tint)
    visible = fit.visible(original)
    restored = torch.where(visible, fit.undo(scaled), original)
    mask = changed(original, restored, threshold=threshold, dilate=dilate, feather=feather)
    blended = torch.lerp(original, restored, mask)
    return Composite(torch.where(mask > 0, blended, original), mask, fit)
