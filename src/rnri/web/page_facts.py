"""What the page is told once: the model and its words, the solvers with their fields, examples and ideas."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from inspect import getdoc
from typing import Any

from rnri_core.inversion.config import MAX_SEED
from rnri_core.inversion.presets import PRESETS
from rnri_core.solvers import SOLVERS, Option

from rnri.controls import CONTROLS
from rnri.editing.editor import Editor
from rnri.examples import GALLERY
from rnri.models import EMBEDDED
from rnri.scenes.captions import caption, parse
from rnri.scenes.render import render
from rnri.scenes.scene import COLOURS, SKIES, STYLES, Scene
from rnri.web.page_pictures import as_url
from rnri.web.store import Settings

MAX_STEPS, MAX_BUDGET = 1000, 100
_DEFAULT = Settings()


def hello(editor: Editor, max_bytes: int, patience: float) -> dict[str, Any]:
    """All that the page needs to draw itself for a model."""
    model = editor.model
    return {
        "model": model.name,
        "words": sorted(model.words),  # families that read any word have no such list
        "guidance": model.defaults.edit_guidance,
        "solver": _DEFAULT.solver,
        "solvers": [*map(_preset, PRESETS), *map(_solver, SOLVERS)],
        "controls": _controls(),
        "settings": [_shown(option) | {"label": label} for label, option in settings(editor)],
        "examples": examples() if draws_scenes(editor) else [],
        "bytes": max_bytes,
        "patience": patience,
    }


def draws_scenes(editor: Editor) -> bool:
    """Whether the model is an embedded one, whose pictures can be read and described."""
    return editor.model.name in EMBEDDED


def settings(editor: Editor) -> tuple[tuple[str, Option], ...]:
    """How a picture is inverted, besides the solver: what each setting is called, and the field of `Settings` it is."""
    steps = editor.model.defaults.steps
    correction = "Keep what each step misses and add it when sampling"
    return (
        ("Steps", Option("steps", int, steps, "Steps between noise and picture", 1, MAX_STEPS)),
        (
            "Iterations a step",
            Option("budget", int, None, "Of the solver; empty for its own", 1, MAX_BUDGET),
        ),
        ("Tolerance", Option("tol", float, None, "Residual at which a step is good enough; empty for none", 0, 1)),
        ("Residual correction", Option("correct", bool, _DEFAULT.correct, correction, 0, 1)),
        ("Seed", Option("seed", int, _DEFAULT.seed, "Of all noise that is drawn", 0, MAX_SEED)),
    )


@lru_cache
def examples() -> list[dict[str, str]]:
    """Pictures to begin with: name, prompt, PNG as a data URL."""
    return [
        {"name": name, "prompt": caption(scene), "picture": as_url(render(scene))} for name, scene in GALLERY.items()
    ]


def ideas(prompt: str) -> list[dict[str, str]]:
    """Changes of a scene's caption to try, each by name with its prompt; none for any other prompt.

    >>> [idea["name"] for idea in ideas("a small red metal ball on the left, on sand, by day")]
    ['orange ball', 'large ball', 'sunset', 'pencil']
    >>> ideas("an astronaut on a horse")
    []
    """
    try:
        scene = parse(prompt)
    except ValueError:
        return []
    place = scene.occupied[0]
    item = scene.at(place)
    assert item is not None
    colour, size = _after(item.colour, COLOURS), "small" if item.size == "large" else "large"
    changed: dict[str, Scene] = {
        f"{colour} {item.shape}": scene.put(place, replace(item, colour=colour)),
        f"{size} {item.shape}": scene.put(place, replace(item, size=size)),
        (sky := _after(scene.sky, SKIES)): replace(scene, sky=sky),
        (style := _after(scene.style, STYLES)): replace(scene, style=style),
    }
    return [{"name": name, "prompt": caption(each)} for name, each in changed.items()]


def _after(value: str, values: tuple[str, ...]) -> str:
    """The value that follows another, in a circle."""
    return values[(values.index(value) + 1) % len(values)]


def _controls() -> list[dict[str, Any]]:
    """The controls that numbers and words alone describe; what needs a file, as a mask, is painted instead."""
    return [
        {"name": name, "about": _about(kind), "fields": [_shown(option) for option in kind.options()]}
        for name, kind in CONTROLS.items()
        if all(option.plain for option in kind.options())
    ]


def _about(kind: type) -> str:
    """What it does, in a line."""
    return " ".join((getdoc(kind) or "").partition("\n\n")[0].replace("``", "").split())


def _preset(name: str) -> dict[str, Any]:
    return {"name": name, "about": PRESETS[name].about, "fields": []}


def _solver(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "about": _about(SOLVERS[name]),
        "fields": [_shown(option) for option in SOLVERS[name].options()],
    }


def _shown(option: Option) -> dict[str, Any]:
    """A field as the page makes a control of it; a bound that is none is None."""
    low, high = (None if math.isinf(bound) else bound for bound in (option.low, option.high))
    kind = option.kind.__name__
    told = {"name": option.name, "kind": kind, "default": option.default, "about": option.about}
    return told | {"low": low, "high": high, "choices": list(option.choices)}
