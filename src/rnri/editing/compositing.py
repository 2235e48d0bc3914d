"""Results that keep the original's own pixels: its mode, depth, transparency and colour profile, to the bit."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core.composite import Registration
from rnri_core.composite import composite as composite_pixels
from rnri_core.errors import RnriError

from rnri import images
from rnri.images import ImageLike, Picture


@dataclass(frozen=True)
class CompositeResult:
    """An edit put back onto its original.

    Attributes:
        picture: the result in the original's mode, with its transparency and profile, at its size; outside the mask
            its pixels are the original's, to the bit.
        mask: weight of the edit, an image of mode L: 0 where the original was kept.
        preserved: share of the pixels that were kept, 0 to 1.
        registration: shift, scale and tint of the edited image that were undone.
    """

    picture: Picture
    mask: Picture
    preserved: float
    registration: Registration


def composite(
    original: ImageLike, edited: ImageLike, *, threshold: float = 1.0, dilate: float = 0.003, feather: float = 0.006
) -> CompositeResult:
    """Put an image that any editor made back onto its original, which keeps every pixel that was not edited.

    Editors that render the whole image again shift, scale, tint and re-encode what they were to leave alone. Those
    differences are found and undone; see :func:`rnri_core.composite.composite` for the method.

    Args:
        original: one image in any form that :func:`rnri.images.read` takes.
        edited: the same, of any size; it is scaled to the original's.
        threshold: differences that count as edits, in multiples of what re-encoding causes; smaller finds more.
        dilate: width by which edited regions are grown, as a share of the longer side.
        feather: width over which they fade out beyond that, as a share of the longer side.

    Raises:
        RnriError: for what is no image, or a batch of several.

    >>> import numpy as np
    >>> picture = np.full((64, 64, 3), 128, np.uint8)
    >>> edited = picture.copy(); edited[20:40, 20:40] = (255, 0, 0)
    >>> result = composite(picture, edited)
    >>> result.picture.getpixel((30, 30)), result.picture.getpixel((5, 5)), result.mask.getpixel((5, 5))
    ((255, 0, 0), (128, 128, 128), 0)
    """
    own = images.own(original)
    before, after = images.read(own), images.read(edited)
    if len(after) != 1:
        raise RnriError(f"a batch of {len(after)} images is not one edit", hint="give one", field="edited")
    result = composite_pixels(before, after, threshold=threshold, dilate=dilate, feather=feather)
    return CompositeResult(
        images.replaced(own, result.image, result.mask),
        images.own((result.mask[0, 0] * 255).ceil().byte().cpu().numpy()),
        result.preserved,
        result.registration,
    )
