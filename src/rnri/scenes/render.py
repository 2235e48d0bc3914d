"""A small ray tracer: :func:`render` turns a scene's data into pixels.

One primary ray per sample of a 2x2 grid in each pixel; soft shadows from eight directions of the light, mirrored and
refracted rays one bounce deep, a contact shadow under each item. Everything is float32 numpy, and equal scenes give
equal pixels on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnri.scenes.scene import PLACES, Item, Scene
from rnri.scenes.shapes import FAR, HEIGHTS, INTERSECT, Array, Vector
from rnri.scenes.styles import apply_style
from rnri.scenes.surroundings import LIGHTS, REFLECTANCE, ground, sky, unit

SIZE = 128
"""Side of a rendered picture in pixels."""

_SAMPLES = 2
_EYE = (0.0, 1.35, 5.2)
_PITCH = -0.15
_FOCAL = 2.75
_SPACING = 1.22
_HALF_WIDTH = {"small": 0.37, "large": 0.56}
_SHADOW_RAYS = 8

_RGB = {
    "red": (0.86, 0.1, 0.1),
    "orange": (0.98, 0.5, 0.05),
    "yellow": (0.98, 0.87, 0.1),
    "green": (0.1, 0.62, 0.17),
    "turquoise": (0.15, 0.82, 0.76),
    "blue": (0.12, 0.24, 0.88),
    "purple": (0.5, 0.14, 0.72),
    "pink": (0.98, 0.53, 0.72),
    "white": (0.96, 0.96, 0.96),
    "black": (0.06, 0.06, 0.07),
}
_STRIPE = {"white": (0.5, 0.5, 0.52)}
_OTHER_STRIPE = (0.97, 0.96, 0.92)


@dataclass(frozen=True)
class _Body:
    """An item standing in the world: centre of its foot, half-width and rotation about the vertical."""

    item: Item
    x: float
    z: float
    half_width: float
    cosine: float
    sine: float

    def local(self, o: Vector, d: Vector) -> tuple[Vector, Vector]:
        """A ray in the body's own frame, in units of its half-width."""
        s = np.float32(1.0 / self.half_width)
        x, z = (o[0] - np.float32(self.x)) * s, (o[2] - np.float32(self.z)) * s
        c, n = np.float32(self.cosine), np.float32(self.sine)
        origin = (c * x - n * z, o[1] * s, n * x + c * z)
        return origin, ((c * d[0] - n * d[2]) * s, d[1] * s, (n * d[0] + c * d[2]) * s)

    def world(self, normal: Vector) -> Vector:
        """A local normal in the world's frame."""
        c, n = np.float32(self.cosine), np.float32(self.sine)
        return c * normal[0] + n * normal[2], normal[1], -n * normal[0] + c * normal[2]


def _bodies(scene: Scene) -> list[_Body]:
    rng = np.random.default_rng([scene.seed, 7])
    bodies = []
    for index, item in enumerate(scene.items):
        dx, dz, turn = (
            rng.uniform(-0.05, 0.05),
            rng.uniform(-0.15, 0.15),
            rng.uniform(0.25, 0.7),
        )  # drawn for every place
        if item is not None:
            x = (index - len(PLACES) // 2) * _SPACING + dx
            bodies.append(_Body(item, x, dz, _HALF_WIDTH[item.size], float(np.cos(turn)), float(np.sin(turn))))
    return bodies


NDIndex = np.ndarray


def _take(vector: Vector, where: NDIndex) -> Vector:
    return vector[0][where], vector[1][where], vector[2][where]


def _dot(a: Vector, b: Vector) -> Array:
    result: Array = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return result


def _along(o: Vector, d: Vector, t: Array) -> Vector:
    return o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]


def _reflect(d: Vector, n: Vector) -> Vector:
    twice = 2 * _dot(d, n)
    return d[0] - twice * n[0], d[1] - twice * n[1], d[2] - twice * n[2]


def _blocked(point: Vector, towards: Array, bodies: list[_Body]) -> Array:
    """Whether the way from each point to the light is blocked, as a boolean array."""
    d = tuple(np.broadcast_to(towards[i], point[0].shape) for i in range(3))
    blocked = np.zeros(point[0].shape, dtype=bool)
    for body in bodies:
        entry, leave, _ = INTERSECT[body.item.shape](*body.local(point, d))  # type: ignore[arg-type]
        blocked |= (entry < leave) & (leave > 0.02) & (entry > -0.02)
    return blocked


class _World:
    """One scene ready to be traced."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.bodies, self.light = scene, _bodies(scene), LIGHTS[scene.sky]
        self.towards = unit(self.light.direction)
        self.colour = np.asarray(self.light.colour, dtype=np.float32)
        self.ambient = np.asarray(self.light.ambient, dtype=np.float32)

    def nearest(self, o: Vector, d: Vector, skip: int = -1) -> tuple[Array, NDIndex, Vector]:
        """Distance, index (-1: none) and normal of the first body each ray meets, body ``skip`` left out."""
        distance = np.full(o[0].shape, FAR, dtype=np.float32)
        index = np.full(o[0].shape, -1, dtype=np.int8)
        normal = tuple(np.zeros(o[0].shape, dtype=np.float32) for _ in range(3))
        for number, body in enumerate(self.bodies):
            if number == skip:
                continue
            # A body's bounding ball decides cheaply which rays can meet it at all.
            high = HEIGHTS[body.item.shape] * body.half_width / 2
            reach = np.float32(high**2 + 1.5 * body.half_width**2)
            offset = (o[0] - np.float32(body.x), o[1] - np.float32(high), o[2] - np.float32(body.z))
            along = _dot(offset, d)
            near = np.flatnonzero(_dot(offset, offset) - along * along < reach)
            entry, leave, n = INTERSECT[body.item.shape](*body.local(_take(o, near), _take(d, near)))
            hit = (entry < leave) & (entry > 1e-3) & (entry < distance[near])
            where = near[hit]
            distance[where], index[where] = entry[hit], number
            for axis, value in zip(normal, body.world(n), strict=True):
                axis[where] = value[hit]
        return distance, index, normal  # type: ignore[return-value]

    def shadow(self, point: Vector, rays: int) -> Array:
        """Share of the light that reaches each point, 0 to 1."""
        side = unit((self.towards[2], 0.0, -self.towards[0]))
        up = np.cross(self.towards, side)
        lit = np.zeros(point[0].shape, dtype=np.float32)
        for k in range(rays):
            angle, radius = 2.39996 * k, self.light.spread * np.sqrt((k + 0.5) / rays)
            jitter = np.float32(radius * np.cos(angle)) * side + np.float32(radius * np.sin(angle)) * up
            lit += ~_blocked(point, self.towards + jitter, self.bodies)
        return lit / rays

    def surround(self, o: Vector, d: Vector) -> Array:
        """Colour of sky and unshadowed ground along rays that meet no body."""
        colour = np.empty((o[0].size, 3), dtype=np.float32)
        down = d[1] < -1e-3
        up = np.flatnonzero(~down)
        colour[up] = sky(_take(d, up), self.scene.sky, self.scene.seed)
        low = np.flatnonzero(down)
        if low.size:
            lo, ld = _take(o, low), _take(d, low)
            point = _along(lo, ld, -lo[1] / ld[1])
            # Bodies are curved mirrors, which make small: what they show is finer than what the eye sees directly.
            colour[low] = self.floor(point, np.float32(1.0), 2 * np.hypot(point[0], point[2]))
        return colour

    def floor(self, point: Vector, lit: Array | np.float32, depth: Array) -> Array:
        """Colour of the ground at ``point`` when a share ``lit`` of the light reaches it, fading into the distance."""
        own = ground(point[0], point[2], self.scene.ground, depth)
        occlusion = np.ones(point[0].shape, dtype=np.float32)
        for body in self.bodies:
            reach = np.float32(body.half_width * 0.9) ** 2
            gap = ((point[0] - np.float32(body.x)) ** 2 + (point[2] - np.float32(body.z)) ** 2) / reach
            occlusion *= 1 - 0.55 * np.exp(-gap)
        direct = np.broadcast_to(np.asarray(lit, dtype=np.float32), point[0].shape) * self.towards[1]
        colour = own * (self.ambient * occlusion[:, None] + self.colour * direct[:, None])
        haze = np.clip((-point[2] - 4.0) / 22.0, 0, 1)[:, None]
        result: Array = colour + (np.asarray(self.light.horizon, dtype=np.float32) * 0.92 - colour) * haze
        return result

    def paint(self, body: _Body, point: Vector, n: Vector) -> Array:
        """The body's own colour at each point: one colour, or stripes round it."""
        base = np.asarray(_RGB[body.item.colour], dtype=np.float32)
        if body.item.material != "striped":
            return np.broadcast_to(base, (point[0].size, 3))
        other = np.asarray(_STRIPE.get(body.item.colour, _OTHER_STRIPE), dtype=np.float32)
        height = point[1] / np.float32(HEIGHTS[body.item.shape] * body.half_width)
        band = np.clip((np.sin(height * np.float32(6 * np.pi) - 1.2) - 0.15) * 3.5 + 0.5, 0, 1)
        return base + (other - base) * band[:, None]

    def diffuse(self, body: _Body, point: Vector, n: Vector, lit: Array | np.float32, shine: float, d: Vector) -> Array:
        """Lambert's law with a highlight of strength ``shine``."""
        facing = np.clip(n[0] * self.towards[0] + n[1] * self.towards[1] + n[2] * self.towards[2], 0, 1) * lit
        above = np.float32(0.62) + np.float32(0.38) * n[1]
        colour = self.paint(body, point, n) * (self.ambient * above[:, None] + self.colour * 1.15 * facing[:, None])
        result: Array = (
            colour
            + self.highlight(d, n, shine, 24) * (np.asarray(lit, dtype=np.float32) * np.ones_like(facing))[:, None]
        )
        return result

    def highlight(self, d: Vector, n: Vector, strength: float, sharpness: int) -> Array:
        mirrored = _reflect(d, n)
        towards = np.clip(
            mirrored[0] * self.towards[0] + mirrored[1] * self.towards[1] + mirrored[2] * self.towards[2], 0, 1
        )
        result: Array = (np.float32(strength) * towards**sharpness)[:, None] * (self.colour * 0.6 + np.float32(0.4))
        return result

    def bounce(self, o: Vector, d: Vector, skip: int) -> Array:
        """What a mirrored or refracted ray sees past body ``skip``: surroundings and bodies, no further bounces."""
        colour = self.surround(o, d)
        distance, index, normal = self.nearest(o, d, skip)
        for number, body in enumerate(self.bodies):
            seen = np.flatnonzero(index == number)
            if not seen.size:
                continue
            so, sd, sn = _take(o, seen), _take(d, seen), _take(normal, seen)
            colour[seen] = self.diffuse(body, _along(so, sd, distance[seen]), sn, np.float32(0.8), 0.1, sd)
        return colour

    def surface(self, number: int, point: Vector, n: Vector, d: Vector) -> Array:
        """Colour of body ``number`` at points with normals ``n`` seen along ``d``."""
        body = self.bodies[number]
        off = (point[0] + 0.02 * n[0], point[1] + 0.02 * n[1], point[2] + 0.02 * n[2])
        others = [other for other in self.bodies if other is not body]
        lit = np.float32(1.0) - np.float32(0.75) * _blocked(off, self.towards, others).astype(np.float32)
        material = body.item.material
        if material in ("matte", "striped"):
            return self.diffuse(body, point, n, lit, 0.12, d)
        tint = np.asarray(_RGB[body.item.colour], dtype=np.float32)
        mirror = self.bounce(off, _reflect(d, n), number)
        facing = np.clip(-_dot(d, n), 0, 1)
        fresnel = ((1 - facing) ** 4)[:, None]
        if material == "metal":
            polish = tint * 0.86 + 0.08
            colour = polish * (0.3 + 0.85 * mirror) * (0.62 + 0.55 * facing[:, None])
            # A slanted gleam tells metal from matte on flat faces too, which mirror one even patch of the world.
            slant = (point[0] - np.float32(body.x) + 0.55 * point[1]) / np.float32(body.half_width)
            gleam = (0.5 * np.exp(-(((slant - 0.25) / 0.16) ** 2)))[:, None]
            colour = colour * (1 - 0.3 * fresnel) + 0.3 * fresnel * mirror
            matte: Array = colour + gleam * (self.colour + self.ambient) + self.highlight(d, n, 1.0, 40) * lit[:, None]
            return matte
        bend = np.float32(0.3)
        through: Vector = (d[0] - bend * n[0], d[1] - bend * n[1], d[2] - bend * n[2])
        length = np.sqrt(_dot(through, through))
        through = (through[0] / length, through[1] / length, through[2] / length)
        behind = self.bounce(point, through, number)
        clear = 0.16 + 0.84 * tint
        glow = tint * (self.ambient * 0.55 + self.colour * 0.2 + 0.04)
        colour = (behind * clear * 0.78 + glow) * (0.7 + 0.3 * facing[:, None])
        result: Array = (
            colour * (1 - 0.7 * fresnel) + 0.7 * fresnel * (mirror * 0.7 + 0.3) + self.highlight(d, n, 1.0, 60)
        )
        return result


def _camera(size: int, samples: int) -> tuple[Vector, Vector]:
    """Primary rays of a square picture, row by row, ``samples`` x ``samples`` in each pixel."""
    side = size * samples
    axis = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1) / _FOCAL
    x, y = np.meshgrid(axis, -axis)
    c, s = np.float32(np.cos(_PITCH)), np.float32(np.sin(_PITCH))
    d = (x.ravel(), (c * y + s).ravel() * np.float32(1.0), (s * y - c).ravel())
    length = np.sqrt(_dot(d, d))
    o = tuple(np.full(side * side, value, dtype=np.float32) for value in _EYE)
    return o, (d[0] / length, d[1] / length, d[2] / length)  # type: ignore[return-value]


def _floor_light(world: _World, size: int) -> Array:
    """The light on the ground, one value per pixel (shadows are soft: samples inside a pixel share it)."""
    o, d = _camera(size, 1)
    lit = np.ones(size * size, dtype=np.float32)
    low = np.flatnonzero((d[1] < -1e-3) & (o[1] / np.maximum(-d[1], 1e-3) < 14.0))
    lo, ld = _take(o, low), _take(d, low)
    lit[low] = 0.15 + 0.85 * world.shadow(_along(lo, ld, -lo[1] / ld[1]), _SHADOW_RAYS)
    return lit


def render(scene: Scene, size: int = SIZE) -> np.ndarray:
    """The picture of ``scene``: uint8, ``(size, size, 3)``, RGB."""
    world = _World(scene)
    o, d = _camera(size, _SAMPLES)
    side = size * _SAMPLES
    colour = np.empty((side * side, 3), dtype=np.float32)
    distance, index, normal = world.nearest(o, d)
    down = d[1] < -1e-3
    up = np.flatnonzero((index < 0) & ~down)
    colour[up] = sky(_take(d, up), scene.sky, scene.seed)

    low = np.flatnonzero((index < 0) & down)
    lo, ld = _take(o, low), _take(d, low)
    point = _along(lo, ld, -lo[1] / ld[1])
    lit = np.kron(_floor_light(world, size).reshape(size, size), np.ones((_SAMPLES, _SAMPLES), np.float32)).ravel()
    floor = world.floor(point, lit[low], -point[2])
    share = np.float32(REFLECTANCE[scene.ground])
    if share:
        wobble = np.float32(0.05) * np.sin(9.0 * point[2] + 2.0 * np.sin(2.0 * point[0]))
        wobble = wobble if scene.ground == "water" else np.zeros_like(wobble)
        mirrored = world.bounce(point, (ld[0] + wobble, -ld[1], ld[2]), -1)
        floor = floor * (1 - share) + share * mirrored
    colour[low] = floor

    for number in range(len(world.bodies)):
        seen = np.flatnonzero(index == number)
        so, sd = _take(o, seen), _take(d, seen)
        colour[seen] = world.surface(number, _along(so, sd, distance[seen]), _take(normal, seen), sd)

    picture = np.clip(colour, 0, 1).reshape(size, _SAMPLES, size, _SAMPLES, 3).mean(axis=(1, 3))
    return (apply_style(picture, scene.style) * 255 + 0.5).astype(np.uint8)
