"""Scenes as plain data.

A scene holds one to three items, each standing at its own place, on a ground, under a sky, drawn in a style.
Equal scenes render to equal pixels; an edit (:mod:`rnri.scenes.edits`) is a change of this data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from rnri_core.errors import RnriError

SHAPES = ("ball", "cube", "cylinder", "cone", "gem")
COLOURS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "white", "black")
MATERIALS = ("matte", "metal", "striped", "glass")
SIZES = ("small", "large")
PLACES = ("left", "middle", "right")
GROUNDS = ("sand", "grass", "snow", "wood", "tiles", "water")
SKIES = ("day", "sunset", "night", "overcast")
STYLES = ("photo", "pencil", "pixel", "watercolour")


def _require(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RnriError(f"{field} {value!r} is not known; choose one of {', '.join(allowed)}")


@dataclass(frozen=True)
class Item:
    """One object: ``shape``, ``colour``, ``material`` and ``size``, each from its tuple in this module."""

    shape: str
    colour: str
    material: str
    size: str

    def __post_init__(self) -> None:
        _require("shape", self.shape, SHAPES)
        _require("colour", self.colour, COLOURS)
        _require("material", self.material, MATERIALS)
        _require("size", self.size, SIZES)


@dataclass(frozen=True)
class Scene:
    """A whole picture as data.

    ``items`` has one entry per place of :data:`PLACES` (``None`` where nothing stands; at least one is an item).
    ``seed`` fixes details without words: small offsets, rotations, the clouds.

    >>> ball = Item("ball", "red", "metal", "small")
    >>> Scene((ball, None, None), "sand", "sunset").occupied
    ('left',)
    """

    items: tuple[Item | None, Item | None, Item | None]
    ground: str
    sky: str
    style: str = "photo"
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.items) != len(PLACES):
            raise RnriError(f"items needs one entry per place ({len(PLACES)}), got {len(self.items)}")
        if not any(self.items):
            raise RnriError("a scene needs at least one item, got none")
        _require("ground", self.ground, GROUNDS)
        _require("sky", self.sky, SKIES)
        _require("style", self.style, STYLES)

    @property
    def occupied(self) -> tuple[str, ...]:
        """The places that hold an item, from left to right."""
        return tuple(place for place, item in zip(PLACES, self.items, strict=True) if item is not None)

    def at(self, place: str) -> Item | None:
        """The item at ``place``, or ``None``."""
        _require("place", place, PLACES)
        return self.items[PLACES.index(place)]

    def put(self, place: str, item: Item | None) -> Scene:
        """A copy of this scene with ``item`` at ``place``."""
        _require("place", place, PLACES)
        left, middle, right = (item if name == place else kept for name, kept in zip(PLACES, self.items, strict=True))
        return replace(self, items=(left, middle, right))


def random_item(rng: np.random.Generator) -> Item:
    """An item whose four attributes are drawn independently and uniformly."""
    return Item(str(rng.choice(SHAPES)), str(rng.choice(COLOURS)), str(rng.choice(MATERIALS)), str(rng.choice(SIZES)))


def random_scene(rng: np.random.Generator, style: str | None = None) -> Scene:
    """A scene with one to three items (each count equally likely); six in ten are photos unless ``style`` is given."""
    count = int(rng.integers(1, len(PLACES) + 1))
    taken = set(rng.choice(len(PLACES), size=count, replace=False).tolist())
    items = tuple(random_item(rng) if index in taken else None for index in range(len(PLACES)))
    if style is None:
        style = str(rng.choice(STYLES, p=(0.61, 0.13, 0.13, 0.13)))
    return Scene(
        (items[0], items[1], items[2]),
        str(rng.choice(GROUNDS)),
        str(rng.choice(SKIES)),
        style,
        int(rng.integers(0, 2**31)),
    )
