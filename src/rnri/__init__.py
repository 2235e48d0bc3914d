"""Text edits of real images by inversion of diffusion samplers.

``load`` or :class:`Editor` gives a model, ``Editor.invert`` an :class:`Inversion`, and ``Editor.edit`` an
:class:`EditResult`. A public name is imported when it is first used, so that ``import rnri`` imports no torch.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from rnri import moved

__version__ = "0.2.0"

_HOME = {
    "EditConfig": "rnri.editing.config",
    "EditResult": "rnri.editing.result",
    "Editor": "rnri.editing.editor",
    "Inversion": "rnri_core.inversion.inversion",
    "InversionConfig": "rnri_core.inversion.config",
    "RnriError": "rnri_core.errors",
    "Status": "rnri_core.solvers.solve",
    "citation": "rnri.references",
    "composite": "rnri.editing.compositing",
    "interpolate": "rnri.editing.interpolate",
    "invert": "rnri_core.inversion.presets",
    "load": "rnri.models",
    "sample": "rnri_core.inversion.inversion",
}

__all__ = [
    "EditConfig",
    "EditResult",
    "Editor",
    "Inversion",
    "InversionConfig",
    "RnriError",
    "Status",
    "__version__",
    "citation",
    "composite",
    "interpolate",
    "invert",
    "list_controls",
    "list_solvers",
    "load",
    "sample",
]

if TYPE_CHECKING:
    from rnri_core.errors import RnriError
    from rnri_core.inversion.config import InversionConfig
    from rnri_core.inversion.inversion import Inversion, sample
    from rnri_core.inversion.presets import invert
    from rnri_core.solvers.solve import Status

    from rnri.editing.compositing import composite
    from rnri.editing.config import EditConfig
    from rnri.editing.editor import Editor
    from rnri.editing.interpolate import interpolate
    from rnri.editing.result import EditResult
    from rnri.models import load
    from rnri.references import citation


moved.install()


def list_solvers() -> list[str]:
    """Names that ``inverter=`` takes: presets, solvers, and inverters without a solver.

    >>> list_solvers()[:4]
    ['auto', 'faithful', 'explicit', 'fixed-point']
    """
    from rnri_core.inversion.presets import INVERTERS, PRESETS
    from rnri_core.solvers import SOLVERS

    return [*PRESETS, *SOLVERS, *INVERTERS]


def list_controls() -> list[str]:
    """Names that ``controls=`` takes."""
    from rnri.controls import CONTROLS

    return list(CONTROLS)


def __getattr__(name: str) -> Any:
    if name in moved.NAMES:
        new = moved.NAMES[name]
        warnings.warn(f"rnri.{name} is now {new}.{name}; the old name goes in 0.3", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(new), name)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
