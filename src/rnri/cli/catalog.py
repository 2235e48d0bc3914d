"""The tables of `rnri solvers`, `controls`, `methods` and `models`, without an import of torch.

``python docs/make_catalog.py`` writes them, from the registries, to ``catalog.json`` beside this file; a test holds the
file equal to the registries. With components of other distributions, which come by entry points, the tables are made
from the registries when they are shown.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnri_core.errors import RnriError

if TYPE_CHECKING:
    from rnri_core.registry import Option, Registered

_LOG = logging.getLogger(__name__)

PATH = Path(__file__).with_name("catalog.json")
GROUPS = ("rnri.solvers", "rnri.controls", "rnri.families")


def read() -> dict[str, Any]:
    """The tables, of the file or of the registries."""
    from importlib.metadata import entry_points

    if any(entry_points(group=group) for group in GROUPS):
        return build()
    tables: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return tables


def build() -> dict[str, Any]:
    """The tables of the registries."""
    from rnri_core.inversion.presets import INVERTERS, PRESETS
    from rnri_core.solvers import SOLVERS, WRAPPERS

    from rnri import models
    from rnri.baselines import METHODS
    from rnri.controls import CONTROLS

    presets = {}
    for name, preset in PRESETS.items():
        lines = [f"Preset: {preset.about}."]
        lines.append(f"{preset.solver}, {preset.extra} calls beyond {1 + preset.noise_maps} per step")
        if preset.edit_friendly_from:
            lines.append(f"With {preset.edit_friendly_from} steps or more, edit-friendly noise maps, 1 call per step")
        presets[name] = {"about": lines, "fields": []}
    return {
        "solvers": presets
        | _described({**SOLVERS, **INVERTERS})
        | _described({f"+{name}": kind for name, kind in WRAPPERS.items()}),
        "controls": _described(CONTROLS),
        "methods": _described(METHODS),
        "models": {name: [*_defaults(name), about] for name, about in models.EMBEDDED.items()},
        "families": [list(row) for row in (models.FAMILY_HEADS, *models.family_rows())],
    }


def _defaults(name: str) -> list[str]:
    from rnri import models

    defaults = models.Defaults.read(models.embedded(name))
    return [str(defaults.steps), f"{defaults.guidance:g}"] if defaults else ["", ""]


def _described(registry: Mapping[str, type[Registered]]) -> dict[str, Any]:
    """For each name the lines about it, and of each field its default, values and meaning."""
    rows = {}
    for name in registry:
        try:
            kind = registry[name]
        except RnriError as error:  # a plugin that cannot be imported hides no other component
            _LOG.warning("%s", error)
            continue
        about = (getdoc(kind) or "").partition("\n\n")[0].replace("``", "")
        lines = [" ".join(about.split())]
        if hasattr(kind, "source"):
            lines.append(f"{kind.source}, {kind.passage}")
        fields = [
            [f"{each.name}={'' if each.default is None else each.default}", _range(each), each.about]
            for each in kind.options()
        ]
        rows[name] = {"about": lines, "fields": fields}
    return rows


def _range(option: Option) -> str:
    """The values that a field takes."""
    if option.choices:
        return " | ".join(option.choices)
    if option.kind is object:
        return "a file"
    if option.kind is bool:
        return "true | false"
    low, high = (None if math.isinf(bound) else f"{bound:g}" for bound in (option.low, option.high))
    if low is None or high is None:
        return f"at least {low}" if low else f"at most {high}" if high else f"any {option.kind.__name__}"
    return f"{low} to {high}"
