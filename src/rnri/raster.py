"""Image files as numpy arrays: PNG, JPEG and WebP, upright, opaque, in sRGB. Needs Pillow and numpy alone, no torch."""

from __future__ import annotations

import io
import struct
import warnings
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from rnri_core.errors import RnriError
from rnri_core.threads import WARNING_FILTERS

Picture: TypeAlias = Image.Image

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
KINDS = "PNG, JPEG or WebP"
BACKGROUND = "white"  # what shows through a transparent picture
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 0  # above it PIL takes a file for a decompression bomb

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what PIL raises on broken files


def decode(file: BinaryIO, name: str, max_pixels: int | None = None) -> np.ndarray:
    """The picture in a file: (H, W, 3) uint8, or (H, W) uint16 where it is grey of 16 bits.

    EXIF rotation is applied, colours are brought to sRGB, transparency is composited on white, an animation gives its
    first frame. Raises ``ValueError``, which calls the file ``name``, for what is damaged, is no PNG, JPEG or WebP, or
    has more pixels than are allowed.

    >>> file = io.BytesIO()
    >>> Image.new("L", (2, 1), 7).save(file, "PNG")
    >>> decode(file, "the image").tolist()
    [[[7, 7, 7], [7, 7, 7]]]
    """
    most = min(max_pixels or MAX_PIXELS, MAX_PIXELS)
    try:
        with WARNING_FILTERS, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(file, formats=sorted(set(FORMATS.values())))
    except UnidentifiedImageError as error:
        raise RnriError(f"{name} is not a {KINDS} image", hint="convert it to one of these") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RnriError(f"{name} has over {most:,} pixels", hint="scale it down first") from error
    except OSError as error:
        if error.errno is None:  # from the decoder, not from the disk
            raise damaged(name, error) from error
        raise
    with opened:
        if opened.width * opened.height > most:
            raise RnriError(
                f"{name} has {opened.width}×{opened.height} pixels, over {most:,}", hint="scale it down first"
            )
        return as_array(opened, name)


def as_array(image: Picture, name: str) -> np.ndarray:
    """A PIL image as `decode` gives it, and floats (H, W) where it has them."""
    try:
        image.load()
        array = np.asarray(_plain(_upright(image)))
    except _DAMAGE as error:
        raise damaged(name, error) from error
    if array.dtype.kind in "iu" and array.dtype.itemsize > 1:
        array = array.clip(0, 65535).astype(np.uint16)  # PIL keeps 16-bit greys in several integer types
    return array


def damaged(name: str, error: BaseException) -> RnriError:
    """The error for a file that PIL cannot read to its end."""
    return RnriError(f"{name} is truncated or damaged ({reason(error)})", hint="get a whole copy of it")


def reason(error: BaseException) -> str:
    """Why, in one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def _upright(image: Picture) -> Picture:
    """The image turned as its EXIF says; an unreadable EXIF says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, struct.error):
        return image


def _plain(image: Picture) -> Picture:
    """The image in one of PIL's modes RGB, I (16-bit grey) and F: opaque, in sRGB, without a palette."""
    profile = image.info.get("icc_profile")  # phones embed wide ones
    if image.mode.startswith("I") or image.mode == "F":
        return image
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, BACKGROUND)
        image.alpha_composite(layer)
    if image.mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if not ImageCms.getProfileDescription(source).startswith("sRGB"):
                srgb = ImageCms.createProfile("sRGB")
                image = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):
            pass  # an unusable profile: the colours are taken for sRGB, as every viewer does
    return image.convert("RGB")
