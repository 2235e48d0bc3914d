"""Splits of scenes, train, tuning and held-out, that share no description.

A scene belongs to the split that a hash of its attributes names, whatever its seed: 1 of 16 descriptions is held out,
1 of 16 is for tuning, the rest is for training. Each split draws from its own stream and keeps only its own scenes.
For an edit this holds of its source; its target may fall into any split.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from rnri_core.errors import RnriError

from rnri.scenes.attributes import attributes
from rnri.scenes.edits import KINDS, Edit, Kind, applies, edit_of
from rnri.scenes.scene import Scene, random_scene

Split = Literal["train", "tuning", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "tuning", "heldout")

_BUCKETS = 16
_SCENES, _EDITS = 0, 1
_ROOT = 20240712


def split_of(scene: Scene) -> Split:
    """The split that ``scene`` belongs to: the same for every seed, on every machine.

    >>> from rnri.scenes.scene import Item
    >>> split_of(Scene((None, Item("ball", "red", "metal", "small"), None), "sand", "sunset"))
    'train'
    """
    text = ";".join(f"{name}={value}" for name, value in attributes(scene))
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % _BUCKETS
    return "heldout" if bucket == 0 else "tuning" if bucket == 1 else "train"


def _generator(name: Split, purpose: int, seed: int) -> np.random.Generator:
    if name not in SPLITS:
        raise RnriError(f"split {name!r} is not known; choose one of {', '.join(SPLITS)}")
    if seed < 0:
        raise RnriError(f"seed {seed} is negative; give 0 or more")
    return np.random.default_rng(np.random.SeedSequence([_ROOT, SPLITS.index(name), purpose, seed]))


def _draw(name: Split, style: str | None, rng: np.random.Generator) -> Scene:
    while True:
        scene = random_scene(rng, style)
        if split_of(scene) == name:
            return scene


def stream(name: Split, style: str | None = None, seed: int = 0) -> Iterator[Scene]:
    """Scenes of a split without end, in ``style`` (``None``: any); another ``seed`` gives other scenes."""
    rng = _generator(name, _SCENES, seed)
    while True:
        yield _draw(name, style, rng)


def split(name: Split, count: int, style: str | None = None, seed: int = 0) -> tuple[Scene, ...]:
    """The first ``count`` scenes of :func:`stream`: a larger count only adds to a smaller one.

    >>> split("heldout", 5)[:3] == split("heldout", 3)
    True
    """
    _require_count(count)
    return tuple(itertools.islice(stream(name, style, seed), count))


def split_edits(
    name: Split, count: int, kinds: Sequence[Kind] = KINDS, style: str | None = "photo", seed: int = 0
) -> tuple[Edit, ...]:
    """``count`` edits whose sources are scenes of a split, the ``kinds`` in turn; a larger count only adds.

    >>> [edit.kind for edit in split_edits("heldout", 3, kinds=("add", "light"))]
    ['add', 'light', 'add']
    """
    _require_count(count)
    if not kinds:
        raise RnriError("kinds is empty; name at least one")
    rng = _generator(name, _EDITS, seed)
    edits: list[Edit] = []
    while len(edits) < count:
        kind = kinds[len(edits) % len(kinds)]
        source = _draw(name, style, rng)
        if applies(kind, source):
            edits.append(edit_of(source, kind, rng))
    return tuple(edits)


def _require_count(count: int) -> None:
    if count < 0:
        raise RnriError(f"count {count} is negative; give 0 or more")
