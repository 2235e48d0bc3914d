"""Results that keep the original's own pixels: its mode, depth, transparency and colour profile, to the bit."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from rnri_core.composite import Registration
from rnri_core.composite import composite as composite_pixels
from rnri_core.errors import RnriError
from torch import Tensor
from torch.nn import functional

from rnri import images
from rnri.images import ImageLike, Picture

_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "RGBX": "RGB"}
"""Modes of PIL in which a pixel cannot take any colour, and what they are written in."""


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

    >>> picture = np.full((64, 64, 3), 128, np.uint8)
    >>> edited = picture.copy(); edited[20:40, 20:40] = (255, 0, 0)
    >>> result = composite(picture, edited)
    >>> result.picture.getpixel((30, 30)), result.picture.getpixel((5, 5)), result.mask.getpixel((5, 5))
    ((255, 0, 0), (128, 128, 128), 0)
    """
    own = own_pixels(original)
    before, after = images.read(own), images.read(edited)
    if len(after) != 1:
        raise RnriError(f"a batch of {len(after)} images is not one edit", hint="give one", field="edited")
    result = composite_pixels(before, after, threshold=threshold, dilate=dilate, feather=feather)
    return CompositeResult(
        paste(own, result.image, result.mask),
        Image.fromarray((result.mask[0, 0] * 255).ceil().byte().cpu().numpy()),
        result.preserved,
        result.registration,
    )


def own_pixels(image: ImageLike) -> Picture:
    """An image as its file has it, upright: mode, depth, transparency and profile are kept.

    Raises:
        RnriError: as :func:`rnri.images.read` does, and for a batch of several.
    """
    pixels = images.read(image)  # refuses what is no image, in its words
    if len(pixels) != 1:
        raise RnriError(f"a batch of {len(pixels)} images is not one original", hint="give one", field="original")
    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        return Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 and image.ndim == 3 else image)
    if isinstance(image, (np.ndarray, Tensor)):
        return images.to_pil(pixels)[0]
    with Image.open(image) as opened:
        opened.load()
        return ImageOps.exif_transpose(opened)


def paste(original: Picture, pixels: Tensor, mask: Tensor) -> Picture:
    """An image's own pixels where a mask is 0, and others elsewhere, in the image's mode and profile.

    Args:
        original: as of :func:`own_pixels`.
        pixels: (1, 3, H, W) in [−1, 1], sRGB, of its size: what the result shows where the mask is not 0.
        mask: (1, 1, h, w) in [0, 1]; one of another size is scaled.
    """
    mode = _MODES.get(original.mode, original.mode)
    if original.mode == "P" and original.has_transparency_data:
        mode = "RGBA"
    base = original if mode == original.mode else original.convert(mode)
    width, height = base.size
    if tuple(mask.shape[-2:]) != (height, width):
        mask = functional.interpolate(mask, size=(height, width), mode="bilinear", antialias=True)
    inside = (mask[0, 0] > 0).cpu().numpy()
    own, new = np.array(base), _in_mode(base, pixels)
    if own.ndim == 3 and own.shape[-1] in (2, 4):  # transparency stays the original's
        own[..., :-1][inside] = new[inside] if own.shape[-1] == 4 else new[inside][..., None]
    else:
        own[inside] = new[inside]
    result = Image.fromarray(own, mode) if mode in ("LA",) else Image.fromarray(own)
    result.info = {key: value for key, value in original.info.items() if key in ("icc_profile", "dpi")}
    return result


def _in_mode(base: Picture, pixels: Tensor) -> np.ndarray:
    """Pixels (1, 3, H, W) in [−1, 1] as an array of the colours of an image, in its depth and profile."""
    unit = (pixels[0].detach().float().cpu().clamp(-1, 1) + 1) / 2
    grey = (unit * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
    if base.mode.startswith("I") or base.mode == "F":
        own = np.array(base)
        scale = 65535 if base.mode != "F" else 1.0
        return np.asarray((grey * scale).numpy().round() if scale > 1 else grey.numpy()).astype(own.dtype)
    picture = images.to_pil(pixels)[0]
    profile = base.info.get("icc_profile")
    if profile and base.mode in ("RGB", "RGBA"):
        try:
            target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if not ImageCms.getProfileDescription(target).startswith("sRGB"):
                srgb = ImageCms.createProfile("sRGB")
                picture = ImageCms.profileToProfile(picture, srgb, target, outputMode="RGB") or picture
        except (ImageCms.PyCMSError, OSError):
            pass  # the profile was not usable for reading either
    return np.asarray(picture.convert("L") if base.mode in ("L", "LA") else picture)
