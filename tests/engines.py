"""An engine with a tiny model, and what tests of it share."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image
from rnri_core.inversion.config import InversionConfig

from rnri.controls import CONTROLS
from rnri.editing.editor import Editor
from rnri.web.engine import Engine

SOURCE, TARGET, OTHER = "a red ball on sand", "a blue ball on sand", "a small green cube"
CONFIG = InversionConfig(steps=4, iterations=1)
ONE_LEVEL = 1  # of 255: float32 noise may fall on either side of a rounding


class Gate:
    """Holds the engine's thread in work of its own until it is opened, so that requests pile up behind it."""

    def __init__(self, engine: Engine) -> None:
        self._open, entered = threading.Event(), threading.Event()

        def hold(_: Editor) -> None:
            entered.set()
            assert self._open.wait(30)

        self._ticket = engine.do(hold, session="gate")
        assert entered.wait(30)

    def open(self) -> None:
        self._open.set()
        self._ticket.result()


def control_with(option: str) -> str:
    """The name of a control that has an option of this name."""
    return next(name for name, kind in CONTROLS.items() if any(each.name == option for each in kind.options()))


def picture(seed: int = 0, height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def invert(engine: Engine, seed: int = 0, **settings: Any) -> str:
    return engine.invert(picture(seed), SOURCE, replace(CONFIG, **settings)).result().id


def same(one: Image.Image, other: Image.Image, levels: int = ONE_LEVEL) -> bool:
    difference = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))
    return one.size == other.size and bool(difference.max() <= levels)
