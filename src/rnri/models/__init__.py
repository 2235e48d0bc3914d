"""Text-to-image models: the embedded ones by name, any other by its folder or its name on the Hugging Face Hub.

Importing this package loads neither torch nor diffusers: its names are imported when they are first used.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnri_core.registry import Registry

MODELS: Registry[Any] = Registry(
    "rnri.families",
    {
        "StableDiffusionPipeline": "rnri.models.families.stable_diffusion:StableDiffusion",
        "StableDiffusionXLPipeline": "rnri.models.families.stable_diffusion_xl:StableDiffusionXL",
        "LatentConsistencyModelPipeline": "rnri.models.families.latent_consistency:LatentConsistency",
        "StableDiffusion3Pipeline": "rnri.models.families.stable_diffusion_3:StableDiffusion3",
        "FluxPipeline": "rnri.models.families.flux:Flux",
        "Flux2KleinPipeline": "rnri.models.families.flux2:Flux2Klein",
        "PixArtAlphaPipeline": "rnri.models.families.pixart:PixArt",
        "PixArtSigmaPipeline": "rnri.models.families.pixart:PixArtSigma",
        "SanaPipeline": "rnri.models.families.sana:Sana",
        "Lumina2Pipeline": "rnri.models.families.lumina2:Lumina2",
        "AuraFlowPipeline": "rnri.models.families.aura_flow:AuraFlow",
        "ZImagePipeline": "rnri.models.families.z_image:ZImage",
    },
)
"""Class of a diffusers pipeline, as a checkpoint's `model_index.json` names it → its adapter, `module:class` or itself.

Other distributions add families by entry points of the group `rnri.families`, of the same names and values.
"""

EMBEDDED = {"scenes": "small ray-traced scenes, 20 to 50 steps", "scenes-turbo": "the same world in 1 to 4 steps"}
"""The models inside this package: name → what their images show."""

_MODULES = ("loading", "defaults", "prompts", "base", "adapter", "registry")
"""Where public names are, those without torch first."""
_RENAMED = {"Family": "ModelAdapter", "from_parts": "from_components", "part": "component"}

__all__ = [
    "EMBEDDED",
    "FAMILY_HEADS",
    "MODELS",
    "Condition",
    "Defaults",
    "Guidance",
    "GuidanceWarning",
    "Loading",
    "Model",
    "ModelAdapter",
    "PromptWarning",
    "component",
    "embedded",
    "family_rows",
    "find_device",
    "from_components",
    "from_pipe",
    "load",
    "serving",
]

if TYPE_CHECKING:
    from rnri.models.adapter import ModelAdapter
    from rnri.models.base import Condition, Guidance, GuidanceWarning, Model
    from rnri.models.defaults import Defaults
    from rnri.models.loading import Loading
    from rnri.models.prompts import PromptWarning
    from rnri.models.registry import (
        FAMILY_HEADS,
        component,
        family_rows,
        find_device,
        from_components,
        from_pipe,
        load,
        serving,
    )


def embedded(name: str) -> Path:
    """The folder of an embedded model, one of :data:`EMBEDDED`."""
    return Path(__file__).parents[1] / "weights" / name


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(f"rnri.models.{name} is now {new}; the old name goes in 0.3", DeprecationWarning, stacklevel=2)
        name = new
    if name in __all__:
        for module in (import_module(f"{__name__}.{each}") for each in _MODULES):
            if name in vars(module):
                return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
