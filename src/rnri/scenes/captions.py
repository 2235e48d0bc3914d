"""Captions of scenes: their grammar, and a parser of it.

A caption names every attribute of every item, the ground, the sky and the style::

    caption  = [prefix] list [scenery] [suffix]            plain, the canonical layout
             | scenery "," list [suffix]                   scenery first
             | list [scenery] [suffix]                     places first, items separated by ";" or ","
    list     = item place | place [","] item               one to three of them, in any order
    item     = "a" size colour material shape              or the material before the colour: "striped red"
    scenery  = ground [","] sky | sky [","] ground
    prefix   = "a photo of", "a watercolour of", ...       a photo needs none
    suffix   = ", as a watercolour", ...                   instead of the prefix

The words for each attribute are the tables below. The first entry of each is the canonical one, so the canonical
caption is the paraphrase that always picks the first. No caption is longer than :data:`MAX_TOKENS` tokens, counting
one for each word, each punctuation mark, the begin and the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from rnri_core.errors import RnriError

from rnri.scenes.scene import COLOURS, PLACES, Item, Scene

T = TypeVar("T")

MAX_TOKENS = 45
"""The longest caption, begin and end included."""

PUNCTUATION = (",", ";", ".")
"""Marks the captions may use (the full stop is understood and never written)."""

SIZE_WORDS: Mapping[str, tuple[str, ...]] = {"small": ("small", "little"), "large": ("large", "big")}
COLOUR_WORDS: Mapping[str, tuple[str, ...]] = {colour: (colour,) for colour in COLOURS} | {
    "purple": ("purple", "violet")
}
MATERIAL_WORDS: Mapping[str, tuple[str, ...]] = {
    "matte": ("{} matte", "matte {}"),
    "metal": ("{} metal", "metallic {}", "{} metallic"),
    "striped": ("{} striped", "striped {}", "stripy {}"),
    "glass": ("{} glass",),
}
"""How the material stands around the colour, which takes the place of ``{}``."""
SHAPE_WORDS: Mapping[str, tuple[str, ...]] = {
    "ball": ("ball", "sphere"),
    "cube": ("cube", "box"),
    "cylinder": ("cylinder",),
    "cone": ("cone",),
    "gem": ("gem", "diamond"),
}
PLACE_PHRASES: Mapping[str, tuple[str, ...]] = {
    "left": ("on the left",),
    "middle": ("in the middle", "in the centre", "in the center"),
    "right": ("on the right",),
}
GROUND_PHRASES: Mapping[str, tuple[str, ...]] = {
    "sand": ("on sand", "on the sand"),
    "grass": ("on grass", "on a lawn", "on the grass"),
    "snow": ("on snow", "in the snow"),
    "wood": ("on a wooden floor", "on wood"),
    "tiles": ("on checkered tiles", "on tiles", "on a tiled floor"),
    "water": ("on water", "on the sea", "on the water"),
}
SKY_PHRASES: Mapping[str, tuple[str, ...]] = {
    "day": ("by day", "in daylight", "during the day"),
    "sunset": ("at sunset", "in the evening sun"),
    "night": ("at night", "under the stars"),
    "overcast": ("under a grey sky", "under a gray sky", "on an overcast day", "on a cloudy day"),
}
STYLE_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "photo": ("", "a photo of", "a picture of", "an image of", "there is"),
    "pencil": (
        "a coloured pencil sketch of",
        "a colored pencil sketch of",
        "a pencil sketch of",
        "a pencil drawing of",
    ),
    "pixel": ("pixel art of", "a pixel art picture of"),
    "watercolour": ("a watercolour of", "a watercolor of", "a watercolour painting of"),
}
STYLE_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "photo": ("",),
    "pencil": ("as a pencil sketch", "as a pencil drawing"),
    "pixel": ("as pixel art",),
    "watercolour": ("as a watercolour", "as a watercolor", "in watercolour"),
}
JOINERS = ("and", "with")
NEIGHBOUR_JOINERS = (*JOINERS, "next to")
"""Joiners of two items at neighbouring places."""
LAYOUTS = ("plain", "plain", "scenery first", "places first")
"""Layouts, as often as they are drawn."""

_WORD = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


def words(text: str) -> tuple[str, ...]:
    """The words, digits and punctuation marks of ``text``, in lower case: one token each where they are known.

    >>> words("A ball, on the left")
    ('a', 'ball', ',', 'on', 'the', 'left')
    """
    return tuple(_WORD.findall(text.lower()))


def unknown_words(text: str) -> tuple[str, ...]:
    """The words of ``text`` that no caption holds, each once, in order.

    >>> unknown_words("a small red steel ball; a ninja")
    ('steel', 'ninja')
    """
    known = VOCABULARY.union(PUNCTUATION)
    return tuple(dict.fromkeys(word for word in words(text) if word not in known))


class _Choice:
    """Picks the first option (no generator), or any with equal chance."""

    def __init__(self, rng: np.random.Generator | None) -> None:
        self._rng = rng

    def pick(self, options: Sequence[T]) -> T:
        return options[0] if self._rng is None else options[int(self._rng.integers(len(options)))]

    def shuffle(self, options: Sequence[T]) -> list[T]:
        order = range(len(options)) if self._rng is None else self._rng.permutation(len(options))
        return [options[index] for index in order]


def _item(item: Item, choice: _Choice) -> str:
    material = choice.pick(MATERIAL_WORDS[item.material]).format(choice.pick(COLOUR_WORDS[item.colour]))
    return f"a {choice.pick(SIZE_WORDS[item.size])} {material} {choice.pick(SHAPE_WORDS[item.shape])}"


def _scenery(scene: Scene, separators: tuple[str, ...], choice: _Choice) -> str:
    phrases = (choice.pick(GROUND_PHRASES[scene.ground]), choice.pick(SKY_PHRASES[scene.sky]))
    return choice.pick(separators).join(choice.shuffle(phrases))


def _join(items: Sequence[tuple[str, str]], choice: _Choice) -> str:
    """``items`` as (place, phrase) in one list; "next to" only between neighbouring places."""
    text = items[0][1]
    for index in range(1, len(items)):
        gap = abs(PLACES.index(items[index][0]) - PLACES.index(items[index - 1][0]))
        joiners = NEIGHBOUR_JOINERS if gap == 1 else JOINERS
        if len(items) == 2:
            joiner = f" {choice.pick(joiners)} "
        elif index == 1:
            joiner = choice.pick((", ", *(f" {word} " for word in joiners[1:])))
        else:
            joiner = " and "
        text += joiner + items[index][1]
    return text


def _draw(scene: Scene, choice: _Choice) -> str:
    layout = choice.pick(LAYOUTS)
    items: list[tuple[str, str, str]] = []
    for place in choice.shuffle(scene.occupied):
        item = scene.at(place)
        if item is not None:
            items.append((place, _item(item, choice), choice.pick(PLACE_PHRASES[place])))
    prefixes = STYLE_PREFIXES[scene.style]
    prefix = choice.pick(prefixes) if layout == "plain" and choice.pick((True, True, False)) else ""
    named = bool(prefix) or scene.style == "photo"
    suffix = "" if named else f", {choice.pick(STYLE_SUFFIXES[scene.style])}"
    listed = _join([(place, f"{phrase} {where}") for place, phrase, where in items], choice)
    if layout == "scenery first":
        return f"{_scenery(scene, (' ', ', '), choice)}, {listed}{suffix}"
    if layout == "places first":
        comma, separator = choice.pick(((", ", "; "), (" ", ", ")))
        listed = separator.join(f"{where}{comma}{phrase}" for _, phrase, where in items)
        return f"{listed}{separator}{_scenery(scene, (', ', ' '), choice)}{suffix}"
    return f"{prefix} {listed}, {_scenery(scene, (', ', ' '), choice)}{suffix}".strip()


def caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """The canonical caption of ``scene``, or a random paraphrase of it drawn with ``rng``.

    It does not depend on ``scene.seed``, which words cannot state.

    >>> ball, cube = Item("ball", "red", "metal", "small"), Item("cube", "blue", "glass", "large")
    >>> scene = Scene((ball, cube, None), "sand", "sunset")
    >>> caption(scene)
    'a small red metal ball on the left and a large blue glass cube in the middle, on sand, at sunset'
    """
    choice = _Choice(rng)
    while True:
        text = _draw(scene, choice)
        if len(words(text)) + 2 <= MAX_TOKENS:
            return text


def _phrases() -> Mapping[tuple[str, ...], tuple[str, str]]:
    """Every phrase of the grammar, as words, with the attribute and the value it states."""
    materials = {name: tuple(form.replace("{}", "") for form in forms) for name, forms in MATERIAL_WORDS.items()}
    tables: tuple[tuple[str, Mapping[str, tuple[str, ...]]], ...] = (
        ("size", SIZE_WORDS),
        ("colour", COLOUR_WORDS),
        ("material", materials),
        ("shape", SHAPE_WORDS),
        ("place", PLACE_PHRASES),
        ("ground", GROUND_PHRASES),
        ("sky", SKY_PHRASES),
        ("style", STYLE_PREFIXES),
        ("style", STYLE_SUFFIXES),
    )
    phrases = {
        words(phrase): (field, value)
        for field, table in tables
        for value, options in table.items()
        for phrase in options
        if phrase
    }
    glue = ("a", *NEIGHBOUR_JOINERS, *PUNCTUATION)
    return phrases | {words(phrase): ("", "") for phrase in glue}


_PHRASES = _phrases()
_LONGEST = max(map(len, _PHRASES))

VOCABULARY = frozenset(word for phrase in _PHRASES for word in phrase) - set(PUNCTUATION)
"""Every word a caption can hold."""


def _read(text: str) -> list[tuple[str, str]]:
    """``text`` as (attribute, value) pairs in reading order: the longest phrase first."""
    rest, pairs = words(text), list[tuple[str, str]]()
    while rest:
        length = next((n for n in range(min(_LONGEST, len(rest)), 0, -1) if rest[:n] in _PHRASES), 0)
        if not length:
            raise RnriError(
                f"{' '.join(rest[:3])!r} is not part of a caption; see rnri.scenes.captions for the grammar"
            )
        pairs.append(_PHRASES[rest[:length]])
        rest = rest[length:]
    return pairs


def parse(text: str, seed: int = 0) -> Scene:
    """The scene that a caption describes: the inverse of :func:`caption`, for every paraphrase.

    Words do not state the seed; it is an argument. A place belongs to the item before it if that one has none
    yet, else to the item after it. A missing style means a photo. Raises ``RnriError`` where anything else is
    missing, stated twice, or not in the grammar.

    >>> parse("under the stars, on a lawn, a little stripy pink box in the centre").at("middle")
    Item(shape='cube', colour='pink', material='striped', size='small')
    """
    items: dict[str, Item] = {}
    scenery: dict[str, str] = {}
    adjectives: dict[str, str] = {}
    loose: Item | None = None
    ahead = ""
    for field, value in _read(text):
        if field in ("size", "colour", "material"):
            _state(adjectives, field, value)
        elif field == "shape":
            if loose is not None:
                raise RnriError(f"the {loose.colour} {loose.shape} has no place; add one, like 'on the left'")
            missing = [name for name in ("size", "colour", "material") if name not in adjectives]
            if missing:
                raise RnriError(f"the {value} has no {missing[0]}; say it, like 'a small red metal {value}'")
            loose, adjectives = Item(shape=value, **adjectives), {}
        elif field == "place":
            if ahead or value in items:
                raise RnriError(f"{value!r} is named twice or holds nothing; name each place once, with its item")
            ahead = value
        elif field:
            _state(scenery, field, value)
        if loose is not None and ahead:
            items[ahead], loose, ahead = loose, None, ""
    if loose is not None or ahead or adjectives:
        raise RnriError(f"{text!r} ends with an item that lacks a place or a shape; add it")
    for name, example in (("ground", "on sand"), ("sky", "by day")):
        if name not in scenery:
            raise RnriError(f"{text!r} names no {name}; add one, like {example!r}")
    placed = (items.get(PLACES[0]), items.get(PLACES[1]), items.get(PLACES[2]))
    return Scene(placed, scenery["ground"], scenery["sky"], scenery.get("style", "photo"), seed)


def _state(facts: dict[str, str], field: str, value: str) -> None:
    if facts.setdefault(field, value) != value:
        raise RnriError(f"the {field} is both {facts[field]!r} and {value!r}; name one")
