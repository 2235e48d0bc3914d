"""Light, sky and ground, which surround the items.

Colours are float32 arrays ``(N, 3)`` in display space, 0 to 1. Textures are smooth functions of the world position,
so that a picture has no detail finer than its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnri.scenes.shapes import Array, Vector


@dataclass(frozen=True)
class Light:
    """One light from far away and an even ambient light; ``spread`` is the light's half-angle in radians."""

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    ambient: tuple[float, float, float]
    spread: float
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]


LIGHTS = {
    "day": Light((-0.55, 0.95, 0.5), (0.54, 0.51, 0.45), (0.4, 0.42, 0.46), 0.05, (0.22, 0.5, 0.9), (0.78, 0.9, 1.0)),
    "sunset": Light(
        (0.9, 0.55, 0.45), (0.62, 0.42, 0.26), (0.44, 0.36, 0.38), 0.07, (0.42, 0.27, 0.5), (1.0, 0.6, 0.3)
    ),
    "night": Light(
        (-0.4, 0.9, 0.55), (0.4, 0.42, 0.48), (0.3, 0.32, 0.41), 0.06, (0.03, 0.04, 0.15), (0.12, 0.15, 0.34)
    ),
    "overcast": Light(
        (0.1, 1.0, 0.25), (0.26, 0.26, 0.27), (0.5, 0.51, 0.53), 0.35, (0.55, 0.58, 0.62), (0.78, 0.79, 0.8)
    ),
}

REFLECTANCE = {"sand": 0.0, "grass": 0.0, "snow": 0.0, "wood": 0.1, "tiles": 0.2, "water": 0.5}
"""Share of the mirrored view in each ground's colour."""


def unit(vector: tuple[float, float, float]) -> Array:
    """``vector`` as a float32 array of length one."""
    array = np.asarray(vector, dtype=np.float32)
    return array / np.float32(np.linalg.norm(array))


def _mix(low: object, high: object, share: Array) -> Array:
    low, high = np.asarray(low, dtype=np.float32), np.asarray(high, dtype=np.float32)
    return low + (high - low) * share[:, None]


def _smooth(low: float, high: float, value: Array) -> Array:
    """Cubic step from 0 at ``low`` to 1 at ``high``."""
    x = np.clip((value - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def sky(direction: Vector, name: str, seed: int) -> Array:
    """The sky's colour along unit directions, with sun, moon, stars or clouds."""
    light = LIGHTS[name]
    x, y, z = direction
    colour = _mix(light.horizon, light.zenith, np.sqrt(np.clip(y * 3.6, 0, 1)))
    rng = np.random.default_rng(seed)
    azimuth, height = x / np.maximum(-z, 0.2), y / np.maximum(-z, 0.2)
    if name == "day":
        for cx, cy in zip(rng.uniform(-0.36, 0.36, 3), rng.uniform(0.06, 0.2, 3), strict=True):
            for shift, width in ((0.0, 0.07), (0.05, 0.05), (-0.05, 0.05)):
                far = ((azimuth - cx - shift) / width) ** 2 + ((height - cy) / (width * 0.4)) ** 2
                colour = _mix(colour, (1.0, 1.0, 1.0), 0.8 * _smooth(1.0, 0.1, far))
    elif name == "sunset":
        cx = rng.uniform(-0.28, 0.28)
        far = np.sqrt((azimuth - cx) ** 2 + (height - 0.06) ** 2)
        colour = _mix(colour, (1.0, 0.78, 0.42), 0.7 * np.exp(-((far / 0.13) ** 2)))
        colour = _mix(colour, (1.0, 0.95, 0.75), _smooth(0.05, 0.04, far))
    elif name == "night":
        for cx, cy, bright in zip(
            rng.uniform(-0.36, 0.36, 9), rng.uniform(0.04, 0.21, 9), rng.uniform(0.6, 1.0, 9), strict=True
        ):
            far = ((azimuth - cx) ** 2 + (height - cy) ** 2) / 0.0065**2
            colour = _mix(colour, (1.0, 1.0, 0.95), bright * np.exp(-far))
        far = np.sqrt((azimuth - rng.uniform(-0.28, 0.28)) ** 2 + (height - 0.15) ** 2)
        colour = _mix(colour, (0.95, 0.95, 0.86), _smooth(0.045, 0.036, far))
    else:
        for cx, cy, width in zip(
            rng.uniform(-0.36, 0.36, 4), rng.uniform(0.05, 0.22, 4), rng.uniform(0.1, 0.18, 4), strict=True
        ):
            far = ((azimuth - cx) / width) ** 2 + ((height - cy) / (width * 0.35)) ** 2
            colour = _mix(colour, (0.48, 0.5, 0.54), 0.5 * np.exp(-far))
    return colour


def ground(x: Array, z: Array, name: str, depth: Array) -> Array:
    """The ground's own colour at world positions, before light.

    Its relief fades with ``depth``, the way behind the middle of the scene that makes it as small as it is seen:
    lines across the view, which foreshorten, sooner than lines along it.
    """
    far, along = _smooth(1.0, 8.0, depth), _smooth(3.0, 14.0, depth)
    if name == "sand":
        ripple = np.sin(9.0 * z + 1.3 * np.sin(1.7 * x) + 0.6 * x) * (1 - far)
        return _mix((0.82, 0.68, 0.44), (0.93, 0.81, 0.57), 0.5 + 0.5 * ripple)
    if name == "grass":
        patch = np.sin(3.1 * x + 1.1 * np.sin(2.3 * z)) * np.sin(2.7 * z + 0.7 * np.sin(1.9 * x)) * (1 - far)
        return _mix((0.2, 0.46, 0.13), (0.38, 0.64, 0.22), 0.5 + 0.5 * patch)
    if name == "snow":
        drift = np.sin(1.1 * x + 0.8 * np.sin(1.3 * z)) * np.sin(1.5 * z + 0.5) * (1 - far)
        return _mix((0.84, 0.88, 0.96), (0.97, 0.98, 1.0), 0.5 + 0.5 * drift)
    if name == "wood":
        plank = np.floor(x / 0.62)
        inside = np.abs(x / 0.62 - plank - 0.5)
        shade = 0.5 + 0.5 * np.sin(plank * 2.4 + 0.5) + 0.12 * np.sin(4.0 * z + 3.0 * plank)
        colour = _mix((0.46, 0.28, 0.15), (0.68, 0.45, 0.26), np.clip(shade, 0, 1))
        return _mix(colour, (0.25, 0.14, 0.07), _smooth(0.44, 0.49, inside) * (1 - along))
    if name == "tiles":
        wave = np.sin(np.pi * x / 0.8) * np.sin(np.pi * (z + 0.4) / 0.8)
        sharp = np.clip(wave * 9.0, -1, 1) * (1 - far)
        return _mix((0.38, 0.43, 0.5), (0.9, 0.88, 0.84), 0.5 + 0.5 * sharp)
    ripple = np.sin(7.0 * z + 0.9 * np.sin(2.1 * x)) * (1 - far)
    return _mix((0.06, 0.27, 0.42), (0.12, 0.4, 0.56), 0.5 + 0.5 * ripple)
