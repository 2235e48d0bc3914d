"""A given mask: the image changes only where it allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.controls.base import Context, Control, ControlState
from rnri_core.controls.masks import KeepOutside, blurred
from rnri_core.registry import option


@dataclass(frozen=True)
class GivenMask(Control[Context]):
    """Change the image only where a mask is white; where it is black the source is kept, and greys are between.

    The mask is stretched to the image. Where it is black, the result is the autoencoder's reconstruction of the image,
    or, pasted, the image itself.
    """

    source = publications.BLENDED
    passage = "Algorithm 1, with the inversion's latents for the background"
    neutral: ClassVar = {"mask": ""}

    mask: Any = option("", "an image, white where the edit may change things")
    blur: float = option(2.0, "standard deviation of the Gaussian on its edges, in its pixels", low=0.0, high=100.0)

    @property
    def idle(self) -> bool:
        return isinstance(self.mask, str) and not self.mask

    def tensor(self) -> Tensor:
        """The mask as (1, 1, h, w) in [0, 1]: here it has to be such a tensor."""
        mask: Tensor = self.mask
        return mask

    def state(self, context: Context) -> ControlState:
        return KeepOutside(context, blurred(self.tensor(), self.blur).clamp(0, 1))
