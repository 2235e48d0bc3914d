"""Rendering styles: a photo redrawn as coloured pencil, pixel art or watercolour.

A style is a function of the finished picture, float32 ``(H, W, 3)`` in 0 to 1; colours stay recognisable in each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnri.scenes.shapes import Array


def _shift(picture: Array, dy: int, dx: int) -> Array:
    """The picture moved by whole pixels, its border repeated."""
    h, w = picture.shape[:2]
    rows = np.clip(np.arange(h) + dy, 0, h - 1)
    columns = np.clip(np.arange(w) + dx, 0, w - 1)
    return picture[rows][:, columns]


def _box(picture: Array, radius: int) -> Array:
    """Mean over a square window, one axis at a time."""
    span = range(-radius, radius + 1)
    rows = np.sum([_shift(picture, k, 0) for k in span], axis=0) / np.float32(len(span))
    result: Array = np.sum([_shift(rows, 0, k) for k in span], axis=0) / np.float32(len(span))
    return result


def _edges(picture: Array) -> Array:
    """Strength of the colour gradient, 0 to 1, shape ``(H, W, 1)``."""
    dx = _shift(picture, 0, 1) - _shift(picture, 0, -1)
    dy = _shift(picture, 1, 0) - _shift(picture, -1, 0)
    result: Array = np.clip(np.sqrt((dx * dx + dy * dy).sum(axis=2, keepdims=True)) * 1.1, 0, 1)
    return result


def _luminance(picture: Array) -> Array:
    return (picture @ np.asarray((0.3, 0.59, 0.11), dtype=np.float32))[..., None]


def _pencil(picture: Array) -> Array:
    """Pale hatched colour and dark outlines on cream paper."""
    h, w = picture.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    unit = np.float32(w / 128)
    hatch = (0.5 + 0.5 * np.sin((x + y) / unit * np.float32(2 * np.pi / 12)))[..., None]
    light = _luminance(picture)
    vivid = np.clip(light + (picture - light) * 1.25, 0, 1)
    paper = np.asarray((0.98, 0.965, 0.92), dtype=np.float32)
    ink = (1 - vivid) * (0.64 + 0.16 * hatch)
    result: Array = np.clip((paper - ink) * (1 - 0.75 * np.clip(_edges(picture) * 1.3 - 0.15, 0, 1)), 0, 1)
    return result


def _pixel(picture: Array) -> Array:
    """Blocks of 2/128 of the width in a reduced palette."""
    h, w = picture.shape[:2]
    block = max(1, w // 64)
    while w % block or h % block:
        block -= 1
    small = picture.reshape(h // block, block, w // block, block, 3).mean(axis=(1, 3))
    levels = np.float32(7)
    small = np.round(np.clip((small - 0.5) * 1.12 + 0.5, 0, 1) * levels) / levels
    return np.kron(small, np.ones((block, block, 1), dtype=np.float32))


def _watercolour(picture: Array) -> Array:
    """Kuwahara's filter (the calmest of four windows), pale wash, darker rims, grained paper."""
    mean, square = _box(picture, 1), _box(_luminance(picture) ** 2, 1)
    spread = square - _box(_luminance(picture), 1) ** 2
    best, calm = _shift(mean, -1, -1), _shift(spread, -1, -1)
    for dy, dx in ((-1, 1), (1, -1), (1, 1)):
        other, noise = _shift(mean, dy, dx), _shift(spread, dy, dx)
        best, calm = np.where(noise < calm, other, best), np.minimum(noise, calm)
    h, w = picture.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) * np.float32(128 / w)
    grain = 0.5 * np.sin(0.41 * x + 1.3 * np.sin(0.23 * y)) * np.sin(0.37 * y + 1.1 * np.sin(0.19 * x))
    wash = 1 - (1 - best) * (0.84 + 0.07 * grain[..., None])
    result: Array = np.clip(wash * (1 - 0.3 * _edges(best)) + 0.02, 0, 1)
    return result


_STYLES: dict[str, Callable[[Array], Array]] = {
    "photo": lambda picture: picture,
    "pencil": _pencil,
    "pixel": _pixel,
    "watercolour": _watercolour,
}


def apply_style(picture: Array, style: str) -> Array:
    """``picture`` redrawn in ``style``, one of :data:`rnri.scenes.scene.STYLES`."""
    return _STYLES[style](picture)
