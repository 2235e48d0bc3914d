"""Data of the page at its start: the model and its vocabulary, inverters and controls with their fields, examples."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from rnri_core.inversion.presets import PRESETS
from rnri_core.solvers import SOLVERS

from rnri.controls import CONTROLS
from rnri.editing.editor import Editor
from rnri.examples import GALLERY
from rnri.models import EMBEDDED
from rnri.scenes.captions import caption, parse
from rnri.scenes.render import render
from rnri.scenes.scene import COLOURS, SKIES, STYLES, Scene
from rnri.web.page_pictures import as_url
from rnri.web.schemas import ComponentAnswer, InversionFields

SETTINGS = ("steps", "iterations", "tol", "noise_maps", "seed")
"""Fields of an inversion that the page shows, besides the inverter."""
_TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str"}


def hello(editor: Editor, max_bytes: int, patience: float) -> dict[str, Any]:
    """All that the page needs at its start, for the model of an editor."""
    model = editor.model
    return {
        "model": model.name,
        "words": sorted(model.words),  # families that read any word have no such list
        "guidance": model.defaults.edit_guidance,
        "inverter": InversionFields().inverter,
        "inverters": [
            *({"name": name, "about": preset.about, "options": []} for name, preset in PRESETS.items()),
            *(ComponentAnswer.of(name, kind).model_dump() for name, kind in SOLVERS.items()),
        ],
        "controls": [
            ComponentAnswer.of(name, kind).model_dump()
            for name, kind in CONTROLS.items()
            if all(each.plain for each in kind.options())
        ],  # others need a file, such as a mask, which is painted instead
        "settings": settings(editor),
        "examples": examples() if draws_scenes(editor) else [],
        "bytes": max_bytes,
        "patience": patience,
    }


def draws_scenes(editor: Editor) -> bool:
    """Whether the model is an embedded one, whose images the reader of scenes captions."""
    return editor.model.name in EMBEDDED


def settings(editor: Editor) -> list[dict[str, Any]]:
    """The settings of an inversion as form fields, from the schema of requests."""
    schema = InversionFields.model_json_schema()["properties"]
    shown = []
    for name in SETTINGS:
        field = schema[name]
        kind = next(each for each in field.get("anyOf", [field]) if each["type"] != "null")
        shown.append(
            {
                "name": name,
                "label": field["title"],
                "type": _TYPES[kind["type"]],
                "default": editor.model.defaults.steps if name == "steps" else field["default"],
                "about": field["description"],
                "low": kind.get("minimum"),
                "high": kind.get("maximum"),
                "pattern": kind.get("pattern"),
                "choices": [],
            }
        )
    return shown


@lru_cache
def examples() -> list[dict[str, str]]:
    """Example images: name, prompt, PNG as a data URL."""
    return [
        {"name": name, "prompt": caption(scene), "picture": as_url(render(scene))} for name, scene in GALLERY.items()
    ]


def ideas(prompt: str) -> list[dict[str, str]]:
    """Edits to try for a scene's caption, each by name with its prompt; none for any other prompt.

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
