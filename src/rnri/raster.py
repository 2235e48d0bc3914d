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
    return _converted(image, profile, to_srgb=True).convert("RGB")


def _converted(image: Picture, profile: bytes | None, *, to_srgb: bool) -> Picture:
    """An image in sRGB instead of a colour profile, or the other way round; without a profile it stays as it is."""
    if profile:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if not ImageCms.getProfileDescription(own).startswith("sRGB"):
                srgb = ImageCms.createProfile("sRGB")
                source, target = (own, srgb) if to_srgb else (srgb, own)
                return ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):
            pass  # an unusable profile: the colours are taken for sRGB, as every viewer does
    return image


_WRITABLE = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}
"""Modes of PIL in which a pixel cannot take any colour, and those that they are written in."""


def own(image: Picture) -> Picture:
    """A PIL image in its own mode, depth and profile, with its EXIF rotation applied."""
    image.load()
    return _upright(image)


def replaced(original: Picture, colours: np.ndarray, inside: np.ndarray) -> Picture:
    """A PIL image with other colours inside a mask, in its own mode, depth and profile, with its own transparency.

    Args:
        original: as of :func:`own`.
        colours: sRGB, (H, W, 3), floats in [0, 1].
        inside: (H, W), true where the colours are taken; elsewhere samples stay as they are, to the bit.

    >>> replaced(Image.new("L", (2, 1), 7), np.ones((1, 2, 3)), np.array([[True, False]])).tobytes()
    b'\\xff\\x07'
    """
    mode = _WRITABLE.get(original.mode, original.mode)
    if original.mode == "P" and original.has_transparency_data:
        mode = "RGBA"
    base = original if mode == original.mode else original.convert(mode)
    samples, colours = np.array(base), _colours(base, colours)
    if mode in ("RGBA", "LA"):
        samples[..., :-1][inside] = colours[inside].reshape(-1, samples.shape[-1] - 1)
    else:
        samples[inside] = colours[inside]
    result = Image.fromarray(samples, mode) if mode == "LA" else Image.fromarray(samples)
    result.info = {key: value for key, value in original.info.items() if key in ("icc_profile", "dpi")}
    return result


def _colours(base: Picture, colours: np.ndarray) -> np.ndarray:
    """sRGB colours (H, W, 3) in [0, 1] as samples of an image's mode, depth and profile."""
    if base.mode == "F" or base.mode.startswith("I"):
        grey = colours @ np.array([0.299, 0.587, 0.114])
        samples: np.ndarray = (grey if base.mode == "F" else (65535 * grey).round()).astype(np.array(base).dtype)
        return samples
    picture = Image.fromarray((255 * colours).round().astype(np.uint8))
    if base.mode in ("RGB", "RGBA"):
        picture = _converted(picture, base.info.get("icc_profile"), to_srgb=False)
    return np.asarray(picture.convert("L") if base.mode in ("L", "LA") else picture)
