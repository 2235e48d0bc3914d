"""Text-to-image models: the embedded ones by name, any other by its folder or its name on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rnri_core.errors import RnriError

from rnri.load_options import Loading
from rnri.models import acceleration
from rnri.models.base import Condition, Defaults, Guidance, GuidanceWarning, Model, PromptWarning
from rnri.models.components import folder_of, pipeline_class
from rnri.models.family import Family
from rnri.models.schedulers import choose

__all__ = [
    "EMBEDDED",
    "FAMILY_HEADS",
    "MODELS",
    "Condition",
    "Defaults",
    "Family",
    "Guidance",
    "GuidanceWarning",
    "Loading",
    "Model",
    "PromptWarning",
    "embedded",
    "families",
    "find_device",
    "from_parts",
    "from_pipe",
    "load",
    "part",
    "serving",
]

MODELS = {
    "StableDiffusionPipeline": "rnri.models.stable_diffusion:StableDiffusion",
    "StableDiffusionXLPipeline": "rnri.models.stable_diffusion_xl:StableDiffusionXL",
    "LatentConsistencyModelPipeline": "rnri.models.latent_consistency:LatentConsistency",
    "StableDiffusion3Pipeline": "rnri.models.stable_diffusion_3:StableDiffusion3",
    "FluxPipeline": "rnri.models.flux:Flux",
    "Flux2KleinPipeline": "rnri.models.flux2:Flux2Klein",
    "PixArtAlphaPipeline": "rnri.models.pixart:PixArt",
    "PixArtSigmaPipeline": "rnri.models.pixart:PixArtSigma",
    "SanaPipeline": "rnri.models.sana:Sana",
    "Lumina2Pipeline": "rnri.models.lumina2:Lumina2",
    "AuraFlowPipeline": "rnri.models.aura_flow:AuraFlow",
    "ZImagePipeline": "rnri.models.z_image:ZImage",
}
"""Families: the pipeline class that a model's own `model_index.json` names, and what serves it."""

FAMILY_HEADS = ("family", "pipeline", "samplers", "steps", "guidance of edits", "GB of the first", "such as")

EMBEDDED = {
    "scenes": "small ray-traced scenes, 20 to 50 steps",
    "scenes-turbo": "the same world in 1 to 4 steps",
}
"""The models inside this package: name, what it draws."""

_WEIGHTS = Path(__file__).parents[1] / "weights"


def embedded(name: str) -> Path:
    """The folder of an embedded model."""
    return _WEIGHTS / name


def load(
    name: str,
    *,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    loading: Loading | None = None,
) -> Family:
    """A model by its embedded name, its folder (standard diffusers layout), or its Hub id `owner/name`.

    Only safetensors are read. `device` "auto" is the first of cuda, mps and cpu that is there; `dtype` is that of the
    networks. Raises ValueError, in one line, for what is unknown, incomplete or not there.
    """
    loading = loading or Loading()
    place = find_device(device)
    folder = _folder(name, loading)
    kind = serving(pipeline_class(str(folder), folder))
    return kind.from_folder(name, folder, device=place, dtype=dtype, loading=loading)


def from_pipe(pipe: Any, *, scheduler: str | None = None, spacing: str | None = None) -> Family:
    """A model from a diffusers pipeline, or a subclass of one, whose weights it shares and which it does not change.

    `scheduler` and `spacing` are those of `Loading`, for the model alone: the pipeline keeps its own. Raises ValueError
    for a pipeline that no family serves, and for a scheduler that cannot be inverted.
    """
    asked = Loading(scheduler=scheduler, spacing=spacing)
    names = [kind.__name__ for kind in type(pipe).__mro__]
    served = next((name for name in names if name in MODELS), names[0])
    return serving(served).from_pipe(pipe, scheduler=asked.scheduler, spacing=asked.spacing)


def families() -> list[tuple[str, ...]]:
    """What is served, a row under `FAMILY_HEADS` for each class of pipelines."""
    rows: list[tuple[str, ...]] = []
    for pipeline in MODELS:
        kind = serving(pipeline)
        told = (", ".join(kind.samplers), str(kind.steps), kind.recommended, f"{kind.gigabytes:g}")
        rows.append((kind.title, pipeline, *told, ", ".join(kind.examples)))
    return rows


def from_parts(
    pipeline: str, *, network: Any, vae: Any, scheduler: Any, device: torch.device, loading: Loading | None = None
) -> Family:
    """A model of these parts of a pipeline, which can do everything but read prompts.

    Raises ValueError for what of `loading` says how parts are read: these are there.
    """
    loading, kind = loading or Loading(), serving(pipeline)
    for option in ("lora", "variant", "preview", "allow_pickle"):
        if getattr(loading, option):
            raise RnriError(f"{option} has no effect on a model that is made of its parts", hint="leave it out")
    acceleration.check_place(device, loading)
    for module in (network, vae):
        module.requires_grad_(False).eval()
    own = choose(scheduler, loading.scheduler, loading.spacing)
    model = kind(pipeline, kind.assemble(pipeline, {kind.network_part: network, "vae": vae, "scheduler": own}))
    model.place(device, loading)
    return model


def part(kind: str, settings: Mapping[str, Any]) -> Any:
    """A part of a pipeline: a class of diffusers by its name, with these settings, its weights random."""
    import diffusers

    return getattr(diffusers, kind)(**settings)


def serving(pipeline: str) -> type[Family]:
    """What serves a class of pipelines; ValueError if nothing does."""
    if pipeline not in MODELS:
        raise RnriError(f"no model family serves {pipeline}", hint=f"use one of {', '.join(MODELS)}")
    module, _, name = MODELS[pipeline].partition(":")
    kind: type[Family] = getattr(import_module(module), name)
    return kind


def _folder(name: str, loading: Loading) -> Path:
    if name in EMBEDDED:
        return embedded(name)
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RnriError(
            f"unknown model {name!r}", hint=f"use {', '.join(EMBEDDED)}, a folder, or a Hub id such as owner/name"
        )
    return folder_of(name, list(MODELS), loading)


def find_device(name: str | torch.device) -> torch.device:
    """The device of this name, "auto" the first of cuda, mps and cpu that is there; ValueError if it is not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RnriError(f"device {str(name)!r} is not available here", hint="use auto or cpu") from error
    return device
