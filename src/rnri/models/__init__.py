"""Text-to-image models: the embedded ones by name, any other by its folder or its name on the Hugging Face Hub."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from rnri.models.base import Condition, Defaults, Model, PromptWarning

__all__ = ["EMBEDDED", "MODELS", "Condition", "Defaults", "Model", "PromptWarning", "embedded", "from_pipe", "load"]

MODELS = {
    "StableDiffusionPipeline": "rnri.models.stable_diffusion:StableDiffusion",
}
"""Families: the pipeline class that a model's own `model_index.json` names, and what serves it."""

EMBEDDED = {
    "scenes": "small ray-traced scenes, 20 to 50 steps",
    "scenes-turbo": "the same world in 1 to 4 steps",
}
"""The models inside this package: name, what it draws."""

_WEIGHTS = Path(__file__).parents[1] / "weights"


def embedded(name: str) -> Path:
    """The folder of an embedded model."""
    return _WEIGHTS / name


def load(name: str, *, device: str | torch.device = "auto", dtype: torch.dtype = torch.float32) -> Model:
    """A model by its embedded name, its folder (standard diffusers layout), or its Hub id `owner/name`.

    Only safetensors are read. `device` "auto" is the first of cuda, mps and cpu that is there; `dtype` is that of the
    networks. Raises ValueError, in one line, for what is unknown, incomplete or not there.
    """
    place = _device(device)
    folder = _folder(name)
    try:
        pipeline = json.loads((folder / "model_index.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder} is not a model: it needs a model_index.json, as diffusers writes it") from error
    model: Model = _family(pipeline).from_folder(name, folder, device=place, dtype=dtype)
    return model


def from_pipe(pipe: Any) -> Model:
    """A model from a diffusers pipeline, whose weights it shares and which it does not change."""
    model: Model = _family(type(pipe).__name__).from_pipe(pipe)
    return model


def _family(pipeline: str) -> Any:
    if pipeline not in MODELS:
        raise ValueError(f"no model family serves {pipeline}: use one of {', '.join(MODELS)}")
    module, _, name = MODELS[pipeline].partition(":")
    return getattr(import_module(module), name)


def _folder(name: str) -> Path:
    if name in EMBEDDED:
        return embedded(name)
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ValueError(f"unknown model {name!r}: use {', '.join(EMBEDDED)}, a folder, or a Hub id such as owner/name")
    from diffusers import DiffusionPipeline

    try:
        skipped = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
        return Path(DiffusionPipeline.download(name, use_safetensors=True, **skipped))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"no folder {name!r} here, and the Hub does not give it: {reason}") from error


def _device(name: str | torch.device) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(name)!r} is not available here: use auto or cpu") from error
    return device
