"""Module paths and names of 0.1, importable until 0.3; those of options are in `rnri_core.registry.RENAMED`."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "rnri.equation": "rnri_core.solvers.equation",
    "rnri.driver": "rnri_core.solvers.solve",
    "rnri.solvers": "rnri_core.solvers",
    "rnri.solvers.method": "rnri_core.solvers.base",
    "rnri.solvers.sources": "rnri_core.publications",
    "rnri.registry": "rnri_core.registry",
    "rnri.schedule": "rnri_core.sampling.schedules",
    "rnri.guidance": "rnri_core.sampling.guidance",
    "rnri.paths": "rnri_core.sampling.noise_paths",
    "rnri.inversion": "rnri_core.inversion.inversion",
    "rnri.edit_friendly": "rnri_core.inversion.edit_friendly",
    "rnri.coupled": "rnri_core.inversion.coupled",
    "rnri.presets": "rnri_core.inversion.presets",
    "rnri.budget": "rnri_core.inversion.budget",
    "rnri.attention": "rnri.models.attention_hooks",
    "rnri.loading": "rnri.models.loading",
    "rnri.limits": "rnri.editing.limits",
    "rnri.models.parts": "rnri.models.components",
    "rnri.models.samplers": "rnri.models.schedulers",
    "rnri.models.speed": "rnri.models.acceleration",
    "rnri.models.family": "rnri.models.adapter",
    "rnri.models.flow": "rnri.models.schedulers",
    "rnri.models.hooks": "rnri.models.networks",
    "rnri.models.fingerprint": "rnri.models.networks",
    "rnri.models.stable_diffusion": "rnri.models.families.stable_diffusion",
    "rnri.models.stable_diffusion_xl": "rnri.models.families.stable_diffusion_xl",
    "rnri.models.latent_consistency": "rnri.models.families.latent_consistency",
    "rnri.models.stable_diffusion_3": "rnri.models.families.stable_diffusion_3",
    "rnri.models.flux": "rnri.models.families.flux",
    "rnri.models.flux2": "rnri.models.families.flux2",
    "rnri.models.pixart": "rnri.models.families.pixart",
    "rnri.models.sana": "rnri.models.families.sana",
    "rnri.models.lumina2": "rnri.models.families.lumina2",
    "rnri.models.aura_flow": "rnri.models.families.aura_flow",
    "rnri.models.z_image": "rnri.models.families.z_image",
    "rnri.editor": "rnri.editing.editor",
    "rnri.batches": "rnri.editing.batch",
    "rnri.blending": "rnri.editing.interpolate",
    "rnri.previews": "rnri.editing.previews",
    "rnri.fidelity": "rnri.editing.fidelity",
    "rnri.describe": "rnri.editing.captioning",
    "rnri.timings": "rnri.editing.timings",
    "rnri.controls.depth": "rnri_core.controls.start_step",
    "rnri.controls.hold": "rnri_core.controls.automatic_mask",
    "rnri.controls.keep": "rnri.controls.image_mask",
    "rnri.controls.keep_difference": "rnri.controls.diffedit_mask",
    "rnri.controls.keep_words": "rnri.controls.local_blend",
    "rnri.controls.masks": "rnri_core.controls.masks",
    "rnri.controls.residual": "rnri_core.controls.residual",
    "rnri.methods": "rnri.baselines",
    "rnri.bench": "rnri.evaluation",
    "rnri.bench.datasets": "rnri.evaluation.datasets",
    "rnri.bench.convergence": "rnri.evaluation.solvers.convergence",
    "rnri.bench.sensitivity": "rnri.evaluation.solvers.sensitivity",
    "rnri.bench.spectra": "rnri.evaluation.solvers.spectra",
    "rnri.bench.cost": "rnri.evaluation.solvers.cost",
    "rnri.bench.settings": "rnri.evaluation.solvers.groups",
    "rnri.bench.guidances": "rnri.evaluation.solvers.guidances",
    "rnri.bench.rivals": "rnri.evaluation.solvers.rivals",
    "rnri.bench.figures": "rnri.evaluation.solvers.figures",
    "rnri.bench.report": "rnri.evaluation.solvers.report",
    "rnri.bench.edits": "rnri.evaluation.edits.run",
    "rnri.bench.edits_report": "rnri.evaluation.edits.report",
    "rnri.bench.edits_figures": "rnri.evaluation.edits.figures",
    "rnri.bench.tuning": "rnri.evaluation.edits.tuning",
    "rnri.bench.embedded": "rnri.evaluation.embedded",
    "rnri.bench.run": "rnri.evaluation.records",
    "rnri.bench.reports": "rnri.evaluation.reports",
    "rnri.bench.looks": "rnri.evaluation.plotting",
    "rnri.bench.tables": "rnri.evaluation.tables",
    "rnri.bench.statistics": "rnri.evaluation.statistics",
    "rnri.bench.speed": "rnri.evaluation.speed",
    "rnri.bench.architectures": "rnri.evaluation.architectures",
    "rnri.bench.serve": "rnri.evaluation.serving",
    "rnri.bench.ui": "rnri.evaluation.page",
}
"""Module or package of 0.1 → where it is now; what lies in a package moved with it unless it has a line of its own."""

SPLIT = {"rnri.schedule": "rnri_core.sampling.steps"}
"""Module of 0.1 → a second module that has names of it."""

CLASSES = {
    "Depth": "StartStep",
    "Hold": "AutomaticMask",
    "Keep": "ImageMask",
    "KeepDifference": "DiffEditMask",
    "KeepWords": "LocalBlend",
}
"""Class of 0.1 → its present name; importable under the old one from the module's old path."""

NAMES = {
    "CONTROLS": "rnri.controls",
    "Equation": "rnri_core.solvers.equation",
    "METHODS": "rnri.baselines",
    "PRESETS": "rnri_core.inversion.presets",
    "SOLVERS": "rnri_core.solvers",
    "Solution": "rnri_core.solvers.solve",
    "Step": "rnri_core.sampling.steps",
    "allot": "rnri_core.inversion.budget",
    "control": "rnri.controls",
    "method": "rnri.baselines",
    "solve": "rnri_core.solvers.solve",
    "solver": "rnri_core.solvers",
}
"""Name of ``rnri`` in 0.1 → the module that has it."""


def new_path(name: str) -> str | None:
    """The present dotted name of a module of 0.1; ``None`` where the module has not moved.

    >>> new_path("rnri.driver"), new_path("rnri.solvers.anderson"), new_path("rnri.images")
    ('rnri_core.solvers.solve', 'rnri_core.solvers.anderson', None)
    """
    parent, rest = name, ""
    while parent:
        if parent in MOVED:
            return MOVED[parent] + rest
        parent, _, last = parent.rpartition(".")
        rest = f".{last}{rest}"
    return None


class _Moved:
    """Imports an old path as the module that took its place, with a ``DeprecationWarning``.

    A finder and loader of importlib by its methods alone; the import of their base classes takes longer than the rest.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader: Any = self
        return ModuleSpec(name, loader) if name.startswith("rnri.") and new_path(name) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = new_path(spec.name)
        assert new is not None
        warnings.warn(f"{spec.name} is now {new}; the old path goes in 0.3", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        self._own = (module.__spec__, module.__loader__)
        if spec.name in SPLIT:
            for name, value in vars(importlib.import_module(SPLIT[spec.name])).items():
                vars(module).setdefault(name, value)
        for old, name in CLASSES.items():
            if hasattr(module, name):
                setattr(module, old, getattr(module, name))
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__, module.__loader__ = self._own  # the import system has just put those of the old path there


def install() -> None:
    """Put the hook before the finders that there are, once.

    Before, as an old folder in which only bytecode is left would else be found as a namespace package.
    """
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())
