"""Option names of 0.1, accepted until 0.3."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from typing import Any, TypeVar, cast

from rnri_core.errors import RenamedWarning, RnriError, RnriTypeError
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.implicit import Init
from rnri_core.inversion.presets import PRESETS
from rnri_core.registry import RENAMED

from rnri.editing.config import EditConfig

_Config = TypeVar("_Config", InversionConfig, EditConfig)


def configured(config: _Config, options: dict[str, Any]) -> _Config:
    """A config with options given by name, in place of its fields.

    Args:
        config: the config.
        options: fields by name, present or of 0.1 (with a warning); of two names for one field the present one wins.

    Raises:
        RnriTypeError: for a name that is no field.
    """
    known = [each.name for each in fields(config)]
    old = {name: value for name, value in options.items() if name in RENAMED and RENAMED[name] in known}
    present = {name: value for name, value in options.items() if name not in old}
    for name in present:
        if name not in known:
            raise RnriTypeError(f"{name!r} is not an option", hint=f"options are {', '.join(known)}", field=name)
    for name in old:
        warnings.warn(f"option {name!r} is now {RENAMED[name]!r}; the old name goes in 0.3", RenamedWarning, 4)
    whole = {RENAMED[name]: value for name, value in old.items() if RENAMED[name] != "init"} | present
    if old.keys() & {"start", "predictor"} and "init" not in present:
        how = whole.get("inverter", getattr(config, "inverter", None))
        whole["init"] = init_of(how, start=old.get("start"), predictor=old.get("predictor"))
    return replace(config, **whole)


def init_of(inverter: object, *, start: str | None = None, predictor: bool | None = None) -> Init | None:
    """The initial guess of two options of 0.1; one that is not given is the preset's own, or from clean latents.

    >>> init_of("auto", predictor=False), init_of("gnri", predictor=True), init_of("auto")
    ('noised', 'predicted', None)
    """
    if start is None and predictor is None:
        return None
    if not isinstance(start, str | None):
        raise RnriError(f"start={start!r} is not clean or noised", hint="give init", field="start")
    if predictor not in (None, True, False):
        raise RnriError(f"predictor={predictor!r} is not true or false", hint="give init", field="predictor")
    own = PRESETS[inverter].init if isinstance(inverter, str) and inverter in PRESETS else "clean"
    parts = ["noised" if own.startswith("noised") else "clean"] if start is None else [start]
    parts += ["predicted"] * (own.endswith("predicted") if predictor is None else predictor)
    return cast(Init, "-".join(parts).removeprefix("clean-"))
