"""Where a ray enters and leaves each shape.

Every shape is convex, so a ray meets it in one interval: the intersection of a few slabs and quadrics. Shapes are
written in a local frame whose origin is the centre of the foot and whose unit is the half-width of the item.
Rays are triples of float32 arrays ``(x, y, z)`` of one shape ``(N,)``; y points up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 throughout, which numpy's stubs lose on the way
Vector = tuple[Array, Array, Array]
Interval = tuple[Array, Array, Vector]
"""Entry distance, exit distance (no hit where entry > exit) and the outward normal at the entry."""

FAR = np.float32(1e9)
_TINY = np.float32(1e-7)

HEIGHTS = {"ball": 2.0, "cube": 1.7, "cylinder": 1.8, "cone": 2.15, "gem": 2.4}
"""Height of each shape in units of its half-width."""


def _slab(o: Array, d: Array, low: float, high: float) -> tuple[Array, Array, Array]:
    """Interval of ``low <= o + t d <= high`` and the sign of its entry normal."""
    d = np.where(np.abs(d) < _TINY, _TINY, d)
    first, second = (low - o) / d, (high - o) / d
    return np.minimum(first, second), np.maximum(first, second), -np.sign(d)


def _meet(*parts: tuple[Array, Array, Vector]) -> Interval:
    """The intersection of intervals; the normal is that of the last constraint entered."""
    entry, leave, normal = parts[0]
    for other_entry, other_leave, other_normal in parts[1:]:
        later = other_entry > entry
        normal = tuple(np.where(later, b, a) for a, b in zip(normal, other_normal, strict=True))  # type: ignore[assignment]
        entry, leave = np.maximum(entry, other_entry), np.minimum(leave, other_leave)
    return entry, leave, normal


def _roots(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Roots of ``a t² + 2 b t + c``, smaller first; an empty interval where there is none."""
    a = np.where(np.abs(a) < _TINY, _TINY, a)
    disc = b * b - a * c
    root = np.sqrt(np.maximum(disc, 0))
    first, second = (-b - root) / a, (-b + root) / a
    miss = disc < 0
    return np.where(miss, FAR, np.minimum(first, second)), np.where(miss, -FAR, np.maximum(first, second))


def _level(o: Vector, d: Vector, low: float, high: float) -> Interval:
    """The horizontal slab between two heights."""
    entry, leave, sign = _slab(o[1], d[1], low, high)
    zero = np.zeros_like(sign)
    return entry, leave, (zero, sign, zero)


def _ball(o: Vector, d: Vector) -> Interval:
    y = o[1] - 1.0
    a = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
    b = o[0] * d[0] + y * d[1] + o[2] * d[2]
    entry, leave = _roots(a, b, o[0] ** 2 + y**2 + o[2] ** 2 - 1)
    return entry, leave, (o[0] + entry * d[0], y + entry * d[1], o[2] + entry * d[2])


def _cube(o: Vector, d: Vector) -> Interval:
    half = HEIGHTS["cube"] / 2
    x0, x1, sx = _slab(o[0], d[0], -half, half)
    z0, z1, sz = _slab(o[2], d[2], -half, half)
    zero = np.zeros_like(sx)
    return _meet((x0, x1, (sx, zero, zero)), (z0, z1, (zero, zero, sz)), _level(o, d, 0.0, 2 * half))


def _cylinder(o: Vector, d: Vector) -> Interval:
    radius = 0.78
    entry, leave = _roots(
        d[0] ** 2 + d[2] ** 2, o[0] * d[0] + o[2] * d[2], o[0] ** 2 + o[2] ** 2 - np.float32(radius**2)
    )
    side = ((o[0] + entry * d[0]) / radius, np.zeros_like(entry), (o[2] + entry * d[2]) / radius)
    return _meet((entry, leave, side), _level(o, d, 0.0, HEIGHTS["cylinder"]))


def _cone(o: Vector, d: Vector) -> Interval:
    height, slope = HEIGHTS["cone"], np.float32(1.0 / HEIGHTS["cone"])
    below = height - o[1]
    a = d[0] ** 2 + d[2] ** 2 - slope**2 * d[1] ** 2
    b = o[0] * d[0] + o[2] * d[2] + slope**2 * below * d[1]
    c = o[0] ** 2 + o[2] ** 2 - slope**2 * below**2
    first, second = _roots(a, b, c)
    # a < 0: the ray is steeper than the side and lies inside the double cone outside its roots; the half below the
    # apex is the part after the later root for a falling ray and before the earlier one for a rising ray.
    steep, falling = a < 0, d[1] < 0
    entry = np.where(steep, np.where(falling, second, -FAR), first)
    leave = np.where(steep, np.where(falling, FAR, first), second)
    x, z = o[0] + entry * d[0], o[2] + entry * d[2]
    radial = np.sqrt(x * x + z * z) + _TINY
    norm = np.float32(1.0 / np.sqrt(1.0 + float(slope) ** 2))
    side = (x / radial * norm, np.full_like(x, slope * norm), z / radial * norm)
    return _meet((entry, leave, side), _level(o, d, 0.0, height))


def _gem(o: Vector, d: Vector) -> Interval:
    half = HEIGHTS["gem"] / 2
    scaled_o, scaled_d = (o[0], (o[1] - half) / half, o[2]), (d[0], d[1] / half, d[2])
    parts: list[Interval] = []
    for sx, sz in ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)):
        along_o = sx * scaled_o[0] + scaled_o[1] + sz * scaled_o[2]
        along_d = sx * scaled_d[0] + scaled_d[1] + sz * scaled_d[2]
        entry, leave, sign = _slab(along_o, along_d, -1.0, 1.0)
        norm = sign / np.float32(np.sqrt(2.0 + 1.0 / half**2))
        parts.append((entry, leave, (sx * norm, norm / half, sz * norm)))
    return _meet(*parts)


INTERSECT: dict[str, Callable[[Vector, Vector], Interval]] = {
    "ball": _ball,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "gem": _gem,
}
