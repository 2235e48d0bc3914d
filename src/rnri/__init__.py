"""Text edits of real images: invert a diffusion model's sampler by solving z = g(z), then sample with other words.

Importing this package is instant: every public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rnri import moved

__version__ = "0.2.0"

_HOME = {
    "CONTROLS": "rnri.controls",
    "Editor": "rnri.editing.editor",
    "Equation": "rnri_core.solvers.equation",
    "Inversion": "rnri_core.inversion.inversion",
    "METHODS": "rnri.baselines",
    "PRESETS": "rnri_core.inversion.presets",
    "SOLVERS": "rnri_core.solvers",
    "Solution": "rnri_core.solvers.solve",
    "Status": "rnri_core.solvers.solve",
    "Step": "rnri_core.sampling.steps",
    "allot": "rnri_core.inversion.budget",
    "control": "rnri.controls",
    "citation": "rnri.references",
    "invert": "rnri_core.inversion.presets",
    "method": "rnri.baselines",
    "sample": "rnri_core.inversion.inversion",
    "solve": "rnri_core.solvers.solve",
    "solver": "rnri_core.solvers",
}

__all__ = [
    "CONTROLS",
    "METHODS",
    "PRESETS",
    "SOLVERS",
    "Editor",
    "Equation",
    "Inversion",
    "Solution",
    "Status",
    "Step",
    "__version__",
    "allot",
    "citation",
    "control",
    "invert",
    "method",
    "sample",
    "solve",
    "solver",
]

if TYPE_CHECKING:
    from rnri_core.inversion.budget import allot
    from rnri_core.inversion.inversion import Inversion, sample
    from rnri_core.inversion.presets import PRESETS, invert
    from rnri_core.sampling.steps import Step
    from rnri_core.solvers import SOLVERS, solver
    from rnri_core.solvers.equation import Equation
    from rnri_core.solvers.solve import Solution, Status, solve

    from rnri.baselines import METHODS, method  # type: ignore[no-redef, unused-ignore]  # a cycle, by chance met midway
    from rnri.controls import CONTROLS, control
    from rnri.editing.editor import Editor
    from rnri.references import citation


moved.install()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
