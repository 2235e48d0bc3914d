"""A scene as a flat list of named values, which readers read and edits change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rnri.scenes.scene import COLOURS, GROUNDS, MATERIALS, PLACES, SHAPES, SIZES, SKIES, STYLES, Scene

NONE = "none"
"""The value of an item's attributes where nothing stands."""

ITEM_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "material": MATERIALS,
    "size": SIZES,
}
"""The attributes of an item, with their values."""

SCENE_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {"ground": GROUNDS, "sky": SKIES, "style": STYLES}
"""The attributes of the whole picture, with their values."""


def _table() -> Mapping[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for place in PLACES:
        table[f"{place}.present"] = ("no", "yes")
        table |= {f"{place}.{name}": (NONE, *values) for name, values in ITEM_ATTRIBUTES.items()}
    return {**table, **SCENE_ATTRIBUTES}


ATTRIBUTES: Mapping[str, tuple[str, ...]] = _table()
"""Every attribute of a scene in order, ``left.present`` to ``style``, with its values."""


class Attribute(NamedTuple):
    """One named value, such as ``("left.colour", "red")``."""

    name: str
    value: str


def attributes(scene: Scene) -> tuple[Attribute, ...]:
    """The attributes of ``scene``, one for each name of :data:`ATTRIBUTES` and in its order.

    >>> from rnri.scenes.scene import Item
    >>> scene = Scene((None, None, Item("ball", "red", "metal", "small")), "sand", "sunset")
    >>> [attribute.value for attribute in attributes(scene)][-8:]
    ['yes', 'ball', 'red', 'metal', 'small', 'sand', 'sunset', 'photo']
    """
    values: list[str] = []
    for item in scene.items:
        if item is None:
            values += ["no", *(NONE for _ in ITEM_ATTRIBUTES)]
        else:
            values += ["yes", item.shape, item.colour, item.material, item.size]
    values += [scene.ground, scene.sky, scene.style]
    return tuple(map(Attribute, ATTRIBUTES, values))


def changed(source: Scene, target: Scene) -> tuple[str, ...]:
    """The names of the attributes in which two scenes differ, in order; the seed is none of them.

    >>> from dataclasses import replace
    >>> from rnri.scenes.scene import Item
    >>> scene = Scene((None, None, Item("ball", "red", "metal", "small")), "sand", "sunset")
    >>> changed(scene, replace(scene, sky="night"))
    ('sky',)
    """
    pairs = zip(attributes(source), attributes(target), strict=True)
    return tuple(before.name for before, after in pairs if before != after)
