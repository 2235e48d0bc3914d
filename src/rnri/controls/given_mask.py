"""Only what a mask allows changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import Bound, Control, Job
from rnri.controls.masks import Kept, blurred
from rnri.images import mask as read_mask


@dataclass(frozen=True)
class GivenMask(Control):
    """Change the picture only where a mask is white; where it is black it stays, and greys are between.

    The mask is stretched to the picture. Where it is black, the result is what the autoencoder makes of the picture,
    or, pasted, the picture itself.
    """

    source = publications.BLENDED
    passage = "Algorithm 1, with the inversion's latents for the background"
    neutral: ClassVar = {"mask": ""}

    mask: Any = option("", "a picture, white where the edit may change things")
    blur: float = option(2.0, "standard deviation of the Gaussian on its edges, in its pixels", low=0.0, high=100.0)

    @property
    def idle(self) -> bool:
        return isinstance(self.mask, str) and not self.mask

    def bind(self, job: Job) -> Bound:
        return _Masked(job, blurred(read_mask(self.mask), self.blur).clamp(0, 1))


class _Masked(Kept):
    def __init__(self, job: Job, mask: Tensor) -> None:
        super().__init__(job)
        self.given = mask

    def mask(self) -> Tensor:
        return self.given
