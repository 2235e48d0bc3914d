"""Edits with a known truth: changes of a scene's data, with the pictures before and after.

Each kind stands for one of the ten editing types of PIE-Bench (Ju et al. 2024, "Direct Inversion"):

============  =============================================  ==========================
kind          what changes                                   PIE-Bench type
============  =============================================  ==========================
``replace``   the shape, at times colour and material too    1 change object
``add``       an item appears at a free place                2 add object
``remove``    one of several items goes                      3 delete object
``size``      small to large or back                         4 change attribute content
``place``     an item moves to a free place                  5 change attribute pose
``colour``    the colour of one item                         6 change attribute colour
``material``  the material of one item                       7 change attribute material
``ground``    what the items stand on                        8 change background
``light``     sky and light                                  8 change background
``style``     how the picture is drawn                       9 change style
``random``    two of the above that touch other attributes   0 random
============  =============================================  ==========================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rnri_core.errors import RnriError

from rnri.scenes.attributes import changed
from rnri.scenes.captions import caption
from rnri.scenes.scene import (
    COLOURS,
    GROUNDS,
    MATERIALS,
    PLACES,
    SHAPES,
    SIZES,
    SKIES,
    STYLES,
    Item,
    Scene,
    random_item,
    random_scene,
)

Kind = Literal["replace", "add", "remove", "size", "place", "colour", "material", "ground", "light", "style", "random"]

LOCAL_KINDS: tuple[Kind, ...] = ("replace", "add", "remove", "size", "place", "colour", "material")
"""Kinds that leave pixels away from the item, its shadow and its reflections as they are."""
GLOBAL_KINDS: tuple[Kind, ...] = ("ground", "light", "style")
"""Kinds that may change every pixel."""
KINDS: tuple[Kind, ...] = (*LOCAL_KINDS, *GLOBAL_KINDS, "random")
"""All kinds; ``random`` is local or global by what it drew (:attr:`Edit.local`)."""

PIE_BENCH_TYPES: Mapping[Kind, int] = dict(zip(KINDS, (1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 0), strict=True))
"""The ``editing_type_id`` that each kind stands for."""

Change = Callable[[Scene, np.random.Generator], Scene]
"""Another scene, with a random change."""

THRESHOLD = 8
"""Pixels whose true values differ by more than this (of 255, in any channel) may change."""


@dataclass(frozen=True)
class EditImages:
    """The pictures of an edit: ``source`` and ``target`` uint8 ``(H, W, 3)``, ``mask`` bool ``(H, W)``.

    The mask is true where the picture may change.
    """

    source: NDArray[np.uint8]
    target: NDArray[np.uint8]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Edit:
    """A change of ``kind`` from ``source`` to ``target``; both have the same seed, so nothing unnamed changes.

    >>> ball = Item("ball", "red", "metal", "small")
    >>> scene = Scene((ball, None, None), "sand", "sunset")
    >>> edit = Edit("colour", scene, scene.put("left", replace(ball, colour="blue")))
    >>> edit.target_prompt
    'a small blue metal ball on the left, on sand, at sunset'
    >>> edit.changed, edit.local
    (('left.colour',), True)
    """

    kind: Kind
    source: Scene
    target: Scene

    def __post_init__(self) -> None:
        _require_kind(self.kind)
        if not self.changed:
            raise RnriError(f"the target of a {self.kind!r} edit equals its source; change an attribute")
        if self.source.seed != self.target.seed:
            raise RnriError(f"the target's seed {self.target.seed} differs; use the source's, {self.source.seed}")

    @property
    def source_prompt(self) -> str:
        """The canonical caption of the source."""
        return caption(self.source)

    @property
    def target_prompt(self) -> str:
        """The canonical caption of the target."""
        return caption(self.target)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the attributes that change, such as ``("left.colour",)``."""
        return changed(self.source, self.target)

    @property
    def local(self) -> bool:
        """Whether only items change, not ground, sky or style."""
        return all("." in name for name in self.changed)

    def images(self, size: int = 128) -> EditImages:
        """The pictures before and after, and the mask of what may change.

        A pixel of a local edit may change if its true values differ by more than :data:`THRESHOLD`, or if it lies
        near such pixels (two pixels in 128; gaps of up to eight are closed). A global edit may change every pixel.
        """
        from rnri.scenes.render import render

        source, target = render(self.source, size), render(self.target, size)
        if not self.local:
            return EditImages(source, target, np.ones(source.shape[:2], dtype=bool))
        difference = np.abs(source.astype(np.int16) - target.astype(np.int16)).max(axis=2)
        margin = max(1, round(size / 64))
        grown = _grow(difference > THRESHOLD, 2 * margin)
        return EditImages(source, target, ~_grow(~grown, margin))


def _grow(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """``mask`` and every pixel within ``radius`` of it in rows and columns."""
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, pad), 2 * radius + 1, axis=axis)
        mask = np.asarray(windows.any(axis=-1))
    return mask


def _require_kind(kind: str) -> None:
    if kind not in KINDS:
        raise RnriError(f"kind {kind!r} is not known; choose one of {', '.join(KINDS)}")


def _pick(options: Sequence[str], rng: np.random.Generator, but: str = "") -> str:
    """One of ``options`` other than ``but``."""
    rest = [option for option in options if option != but]
    return rest[int(rng.integers(len(rest)))]


def _free(scene: Scene) -> tuple[str, ...]:
    return tuple(place for place in PLACES if place not in scene.occupied)


def _any_item(scene: Scene, rng: np.random.Generator) -> tuple[str, Item]:
    place = _pick(scene.occupied, rng)
    item = scene.at(place)
    assert item is not None
    return place, item


def _replace(scene: Scene, rng: np.random.Generator) -> Scene:
    place, item = _any_item(scene, rng)
    new = replace(item, shape=_pick(SHAPES, rng, but=item.shape))
    if rng.integers(2):
        new = replace(new, colour=_pick(COLOURS, rng), material=_pick(MATERIALS, rng))
    return scene.put(place, new)


def _add(scene: Scene, rng: np.random.Generator) -> Scene:
    return scene.put(_pick(_free(scene), rng), random_item(rng))


def _remove(scene: Scene, rng: np.random.Generator) -> Scene:
    return scene.put(_pick(scene.occupied, rng), None)


def _move(scene: Scene, rng: np.random.Generator) -> Scene:
    place, item = _any_item(scene, rng)
    return scene.put(_pick(_free(scene), rng), item).put(place, None)


def _of_item(name: str, values: Sequence[str]) -> Change:
    """A change of one attribute of one item."""

    def change(scene: Scene, rng: np.random.Generator) -> Scene:
        place, item = _any_item(scene, rng)
        return scene.put(place, replace(item, **{name: _pick(values, rng, but=getattr(item, name))}))

    return change


def _of_scene(name: str, values: Sequence[str]) -> Change:
    """A change of one attribute of the whole picture."""
    return lambda scene, rng: replace(scene, **{name: _pick(values, rng, but=getattr(scene, name))})  # type: ignore[arg-type]


def _two(scene: Scene, rng: np.random.Generator) -> Scene:
    """Two changes of different kinds that touch different attributes, so that neither hides the other."""
    while True:
        one, two = rng.choice(len(_CHANGES), size=2, replace=False).tolist()
        first, second = SINGLE_KINDS[one], SINGLE_KINDS[two]
        if not applies(first, scene):
            continue
        middle = _CHANGES[first](scene, rng)
        if not applies(second, middle):
            continue
        target = _CHANGES[second](middle, rng)
        if not set(changed(scene, middle)) & set(changed(middle, target)):
            return target


SINGLE_KINDS: tuple[Kind, ...] = (*LOCAL_KINDS, *GLOBAL_KINDS)
"""The kinds that make one change: all but ``random``."""

_CHANGES: Mapping[Kind, Change] = {
    "replace": _replace,
    "add": _add,
    "remove": _remove,
    "size": _of_item("size", SIZES),
    "place": _move,
    "colour": _of_item("colour", COLOURS),
    "material": _of_item("material", MATERIALS),
    "ground": _of_scene("ground", GROUNDS),
    "light": _of_scene("sky", SKIES),
    "style": _of_scene("style", STYLES),
}


def applies(kind: Kind, scene: Scene) -> bool:
    """Whether ``scene`` can be edited so: to add or move needs a free place, to remove needs a second item.

    >>> applies("remove", Scene((None, Item("ball", "red", "metal", "small"), None), "sand", "sunset"))
    False
    """
    _require_kind(kind)
    if kind in ("add", "place"):
        return bool(_free(scene))
    return kind != "remove" or len(scene.occupied) > 1


def edit_of(source: Scene, kind: Kind, rng: np.random.Generator) -> Edit:
    """A random edit of ``source``, of the given ``kind``.

    Raises ``RnriError`` if the kind does not apply to the scene.

    >>> scene = Scene((Item("ball", "red", "metal", "small"), None, None), "sand", "sunset")
    >>> edit_of(scene, "size", np.random.default_rng(0)).target.at("left")
    Item(shape='ball', colour='red', material='metal', size='large')
    """
    if not applies(kind, source):
        need = "two items to remove one" if kind == "remove" else "a free place"
        raise RnriError(f"{kind!r} does not apply to {caption(source)!r}; take a scene with {need}")
    change = _two if kind == "random" else _CHANGES[kind]
    return Edit(kind, source, change(source, rng))


def random_edit(rng: np.random.Generator, kind: Kind | None = None, style: str | None = "photo") -> Edit:
    """An edit of a random scene drawn in ``style`` (``None``: any); without a ``kind``, each is equally likely.

    >>> edit = random_edit(np.random.default_rng(0), "light")
    >>> edit.changed, edit.source.style
    (('sky',), 'photo')
    """
    chosen = KINDS[int(rng.integers(len(KINDS)))] if kind is None else kind
    while True:
        source = random_scene(rng, style)
        if applies(chosen, source):
            return edit_of(source, chosen, rng)
