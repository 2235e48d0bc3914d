"""A mask given as an image."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core.controls.given_mask import GivenMask
from torch import Tensor

from rnri import images


@dataclass(frozen=True)
class ImageMask(GivenMask):
    """Change the image only where a mask is white; where it is black the source is kept, and greys are between.

    The mask, a file or an image in any form that the editor takes, is stretched to the image. Where it is black, the
    result is the autoencoder's reconstruction of the image, or, pasted, the image itself.
    """

    def tensor(self) -> Tensor:
        return images.mask(self.mask)
