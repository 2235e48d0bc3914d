"""Pictures in and out: the only place, with `raster`, that has to do with files and pixels.

Inside the package a picture is a float32 tensor (B, 3, H, W) in [-1, 1], upright sRGB. Sizes are (height, width).
"""

from __future__ import annotations

import io
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from rnri_core.errors import RnriError, RnriTypeError
from torch import Tensor

from rnri import raster

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
Picture: TypeAlias = raster.Picture
Size: TypeAlias = tuple[int, int]

FORMATS, BACKGROUND = raster.FORMATS, raster.BACKGROUND
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".apng": "PNG"}
MAX_STRETCH = 2  # a side given to a network is at most this many times longer or shorter than the one it was made for
TALLEST = 4  # in a sheet, a picture is at most this many times higher than wide

_QUALITY: dict[str, dict[str, int]] = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}


def read(image: ImageLike) -> Tensor:
    """Any picture as a float32 tensor (B, 3, H, W) in [-1, 1] at its own size.

    - A path: PNG, JPEG or WebP. EXIF rotation is applied, colours are brought to sRGB, transparency is composited on
      white, 16-bit greys become floats, an animation gives its first frame.
    - A PIL image: the same.
    - A numpy array (H, W), (H, W, 1|3|4) or (B, H, W, 1|3|4): uint8, uint16, or floats in [0, 1].
    - A tensor (3, H, W) or (B, 3, H, W): floats in [-1, 1]. It keeps its device.

    Raises ValueError for what is missing, damaged or out of range, TypeError for anything else.

    >>> read(np.zeros((4, 6), np.uint8)).shape
    torch.Size([1, 3, 4, 6])
    """
    if isinstance(image, Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _from_array(raster.as_array(image, "the image given"))
    if isinstance(image, (str, os.PathLike)):
        return _from_file(Path(image))
    raise RnriTypeError(
        f"cannot read a {type(image).__name__} as an image", hint="give a path, PIL image, numpy array or tensor"
    )


def mask(image: ImageLike) -> Tensor:
    """Any picture as a mask (1, 1, H, W) in [0, 1]: white is 1, black 0, greys between. Raises as `read` does.

    >>> mask(np.array([[0, 255]], np.uint8))
    tensor([[[[0., 1.]]]])
    """
    pixels = read(image)
    if len(pixels) != 1:
        raise RnriError(f"a batch of {len(pixels)} images is not one mask", hint="give one")
    return pixels.mean(1, keepdim=True).add(1).div(2).clamp(0, 1)


def decode(data: bytes, *, max_pixels: int | None = None) -> Tensor:
    """A PNG, JPEG or WebP file that is in memory, read as `read` does; ValueError for more pixels than are allowed."""
    return _from_array(raster.decode(io.BytesIO(data), "the image", max_pixels))


def encode(image: ImageLike, kind: str = "PNG") -> bytes:
    """One picture as a PNG, JPEG or WEBP file.

    >>> encode(np.zeros((4, 6), np.uint8))[:4]
    b'\\x89PNG'
    """
    pictures = to_pil(read(image))
    if len(pictures) != 1:
        raise RnriError(f"cannot write a batch of {len(pictures)} images to one file", hint="write them one by one")
    encoded = io.BytesIO()
    pictures[0].save(encoded, format=kind, **_QUALITY[kind])
    return encoded.getvalue()


def own(image: ImageLike) -> Picture:
    """One image as a PIL image in its own mode, depth and profile, upright.

    Raises:
        RnriError: as `read` does, and for a batch of several.
    """
    pixels = read(image)
    if len(pixels) != 1:
        raise RnriError(f"a batch of {len(pixels)} images is not one image", hint="give one")
    if isinstance(image, Image.Image):
        return raster.own(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        return Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    if isinstance(image, (np.ndarray, Tensor)):
        return to_pil(pixels)[0]
    with Image.open(image) as opened:
        return raster.own(opened)


def replaced(original: Picture, pixels: Tensor, mask: Tensor) -> Picture:
    """The samples of an image where a mask (1, 1, H, W) is 0, and pixels (1, 3, H, W) in [-1, 1] elsewhere.

    ``original`` is as of `own`; mode, depth, transparency and profile stay.
    """
    colours = ((pixels[0].detach().float().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).cpu().numpy()
    return raster.replaced(original, colours, (mask[0, 0] > 0).cpu().numpy())


def to_pil(pixels: Tensor) -> list[Picture]:
    """A tensor (B, 3, H, W) in [-1, 1], clamped to it, as B RGB images of 8 bits; not-a-number is grey.

    >>> to_pil(torch.ones(1, 3, 2, 2))[0].getpixel((0, 0))
    (255, 255, 255)
    """
    levels = ((pixels.detach().float().nan_to_num(0.0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [Image.fromarray(picture) for picture in levels.permute(0, 2, 3, 1).cpu().numpy()]


def fit(size: Size, target: Size, multiple: int, most: int | None = None) -> Size:
    """The size at which a network made for `target` is given a picture of `size`.

    The shape is kept and the area is the target's; each side is then rounded to a multiple the network takes, at
    least half and at most twice the target's, and no more than `most`. So a square model gets a square picture
    unchanged in shape, an ordinary photo within one multiple of its shape, and a panorama squeezed. Scale back with
    `resize` to restore.

    >>> fit((300, 400), (512, 512), 8), fit((10, 4000), (128, 128), 8)
    ((440, 592), (64, 256))
    """
    scale = math.sqrt(target[0] * target[1] / (size[0] * size[1]))

    def side(length: int, wanted: int) -> int:
        bounded = min(max(length * scale, wanted / MAX_STRETCH), wanted * MAX_STRETCH)
        count = max(1, round(bounded / multiple))
        return min(count, most // multiple if most else count) * multiple

    return side(size[0], target[0]), side(size[1], target[1])


def resize(pixels: Tensor, size: Size) -> Tensor:
    """Pixels (B, 3, H, W) in [-1, 1] at another (height, width): bicubic, antialiased, clamped."""
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    scaled = torch.nn.functional.interpolate(pixels, size=size, mode="bicubic", antialias=True)
    return scaled.clamp(-1, 1)


def check_output(
    path: str | os.PathLike[str], *, overwrite: bool = False, formats: Mapping[str, str] = FORMATS
) -> Path:
    """The path, if a picture can be written there. Raises ValueError with the cure; writes nothing.

    Call it before the work whose result goes there.
    """
    path = Path(path)
    if path.suffix.lower() not in formats:
        raise RnriError(f"cannot write {path}", hint=f"its suffix is {path.suffix!r}, use one of {', '.join(formats)}")
    if path.is_dir():
        raise RnriError(f"cannot write {path}", hint="it is a directory, give a file name")
    if not path.parent.is_dir():
        raise RnriError(f"cannot write {path}", hint=f"there is no directory {path.parent}, create it first")
    if not os.access(path.parent, os.W_OK):
        raise RnriError(
            f"cannot write {path}", hint=f"no permission to write in {path.parent}, choose another directory"
        )
    if path.exists() and not overwrite:
        raise RnriError(f"{path} exists", hint="choose another name, or allow it to be overwritten")
    return path


def write(image: ImageLike, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write one picture as PNG, JPEG or WebP, told by the suffix; a file is there whole or not at all.

    Raises ValueError as `check_output` does, and if the disk refuses.
    """
    path = check_output(path, overwrite=overwrite)
    _put(path, encode(image, FORMATS[path.suffix.lower()]))
    return path


def write_own(picture: Picture, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a PIL image in its own mode, depth and colour profile, where the format has them; else as `write` does."""
    path = check_output(path, overwrite=overwrite)
    kind = FORMATS[path.suffix.lower()]
    if kind != "PNG" and picture.mode not in ("L", "RGB"):
        return write(picture, path, overwrite=True)
    encoded = io.BytesIO()
    picture.save(encoded, format=kind, icc_profile=picture.info.get("icc_profile"), **_QUALITY[kind])
    _put(path, encoded.getvalue())
    return path


def _put(path: Path, data: bytes) -> None:
    """A file that is there whole or not at all."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise RnriError(f"cannot write {path}", hint=f"{raster.reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def animate(
    pictures: Sequence[ImageLike], path: str | os.PathLike[str], *, seconds: float = 0.12, overwrite: bool = False
) -> Path:
    """Write pictures of one size as an animation without end, there and back: GIF, WebP or APNG, told by the suffix.

    Each is shown for some ``seconds``. Raises ValueError as `check_output` does.
    """
    path = check_output(path, overwrite=overwrite, formats=ANIMATIONS)
    frames = [to_pil(read(picture))[0] for picture in pictures]
    first, *rest = frames + frames[-2:0:-1]
    encoded, kind = io.BytesIO(), ANIMATIONS[path.suffix.lower()]
    quality = {"lossless": True} if kind == "WEBP" else {}
    duration = round(1000 * seconds)
    first.save(encoded, format=kind, save_all=True, append_images=rest, duration=duration, loop=0, **quality)
    _put(path, encoded.getvalue())
    return path


def sheet(tiles: Sequence[tuple[ImageLike, str]], *, columns: int | None = None, width: int = 256) -> Picture:
    """Pictures side by side, each with its caption under it: the first line dark, the others grey and smaller.

    Every picture is scaled to `width` pixels, and a very tall one to `TALLEST` times that; captions wrap to it. Rows of
    equal length, at most five, unless told.

    >>> grey = np.full((8, 8, 3), 128, np.uint8)
    >>> sheet([(grey, "original"), (grey, "edit\\na blue ball, on sand")]).width
    592
    """
    if not tiles:
        raise RnriError("a sheet of no pictures", hint="give at least one (image, caption)")
    columns = columns or math.ceil(len(tiles) / math.ceil(len(tiles) / 5))
    margin, gap = width // 8, width // 16
    strips = [_strip(tiles[i : i + columns], width, gap) for i in range(0, len(tiles), columns)]
    height = sum(strip.height for strip in strips) + (len(strips) - 1) * 2 * gap
    canvas = Image.new("RGB", (max(strip.width for strip in strips) + 2 * margin, height + 2 * margin), BACKGROUND)
    top = margin
    for strip in strips:
        canvas.paste(strip, (margin, top))
        top += strip.height + 2 * gap
    return canvas


def _strip(tiles: Sequence[tuple[ImageLike, str]], width: int, gap: int) -> Picture:
    """One row of a sheet: pictures standing on one line, captions hanging below it."""
    head, body = ImageFont.load_default(size=width / 16), ImageFont.load_default(size=width / 18)
    pitch = round(width / 12)
    pictures, captions = [], []
    for image, caption in tiles:
        picture = to_pil(read(image))[0]
        scale = min(width / picture.width, TALLEST * width / picture.height)
        shape = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        pictures.append(picture.resize(shape, Image.Resampling.LANCZOS))
        title, _, text = caption.partition("\n")
        lines = [(line, head, "#111111") for line in _wrap(title, head, width)]
        captions.append(lines + [(line, body, "#5c5c5c") for line in _wrap(text, body, width)])
    base = max(picture.height for picture in pictures)
    height = base + gap // 2 + pitch * max(len(lines) for lines in captions)
    strip = Image.new("RGB", (len(tiles) * (width + gap) - gap, height), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for n, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        left = n * (width + gap)
        strip.paste(picture, (left, base - picture.height))
        for k, (line, font, colour) in enumerate(lines):
            draw.text((left, base + gap // 2 + k * pitch), line, fill=colour, font=font)
    return strip


def _from_file(path: Path) -> Tensor:
    if not path.exists():
        raise RnriError(f"{path} does not exist", hint="check the path")
    if path.is_dir():
        raise RnriError(f"{path} is a directory", hint="give one image file")
    try:
        if path.stat().st_size == 0:
            raise RnriError(f"{path} is empty (0 bytes)", hint=f"give a {raster.KINDS} image")
        with path.open("rb") as file:
            return _from_array(raster.decode(file, str(path)))
    except OSError as error:
        raise RnriError(f"{path} cannot be read", hint=f"{raster.reason(error)}") from error


def _from_array(array: np.ndarray) -> Tensor:
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4) or 0 in shape:
        raise RnriError(f"an array of shape {shape} is not an image", hint="give (H, W), (H, W, 3) or (B, H, W, 3)")
    if array.dtype in (np.uint8, np.uint16):
        pixels = torch.from_numpy(array.astype(np.float32) / np.iinfo(array.dtype).max)
    elif array.dtype.kind == "f":
        pixels = torch.from_numpy(array.astype(np.float32))
        _check_range(pixels, 0, 1, "array")
    else:
        raise RnriError(f"an array of {array.dtype} is not an image", hint="give uint8, uint16 or floats in [0, 1]")
    pixels = pixels.permute(0, 3, 1, 2)
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:]
        pixels = pixels[:, :3] * alpha + (1 - alpha)  # over white
    return pixels.expand(-1, 3, -1, -1).mul(2).sub(1).contiguous()


def _from_tensor(tensor: Tensor) -> Tensor:
    pixels = tensor[None] if tensor.ndim == 3 else tensor
    if pixels.ndim != 4 or pixels.shape[1] != 3 or 0 in pixels.shape:
        raise RnriError(
            f"a tensor of shape {tuple(tensor.shape)} is not an image", hint="give (3, H, W) or (B, 3, H, W)"
        )
    if not pixels.is_floating_point():
        raise RnriError(f"a tensor of {tensor.dtype} is not an image", hint="give floats in [-1, 1]")
    _check_range(pixels, -1, 1, "tensor")
    return pixels.detach().float()


def _check_range(pixels: Tensor, low: float, high: float, name: str) -> None:
    least, most = pixels.min().item(), pixels.max().item()
    slack = 1e-3
    if not (low - slack <= least and most <= high + slack):  # also catches NaN
        raise RnriError(f"the {name} has values from {least:.4g} to {most:.4g}", hint=f"scale them to [{low}, {high}]")


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines no wider than `width` pixels, broken between words, and within one only if it must."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            if line and font.getlength(f"{line} {word}") > width:
                lines.append(line)
                line = ""
            line = f"{line} {word}".strip()
            while (fits := _fitting(line, font, width)) < len(line):
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> int:
    """How many characters of a text fit into `width` pixels: one in any case. Looks no further than that."""
    count = min(1, len(text))
    while count < len(text) and font.getlength(text[: count + 1]) <= width:
        count += 1
    return count
