"""From the name of a model, or a diffusers pipeline in memory, to the adapter of its family."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rnri_core.errors import RnriError

from rnri.models import EMBEDDED, MODELS, acceleration, embedded
from rnri.models.adapter import ModelAdapter
from rnri.models.components import assemble, folder_of, pipeline_class
from rnri.models.loading import Loading
from rnri.models.schedulers import choose, imported

_LOG = logging.getLogger(__name__)

FAMILY_HEADS = ("family", "pipeline", "samplers", "steps", "guidance of edits", "GB of the first", "such as")


def load(
    name: str,
    *,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    loading: Loading | None = None,
) -> ModelAdapter:
    """Load a text-to-image model.

    Args:
        name: an embedded model, a folder in the layout of diffusers, or a Hub id `owner/name`.
        device: where the networks run; "auto" is the first of cuda, mps and cpu that is available.
        dtype: precision of the networks; latents and solvers are float32 all the same.
        loading: other options, such as the scheduler, LoRAs and offloading.

    Returns:
        The model, in evaluation mode, without gradients.

    Raises:
        RnriError: in one line, for a model that is unknown, incomplete, of no served family, or refused: only
            safetensors are read unless `loading` allows otherwise, and code that comes with a checkpoint never runs.

    >>> model = load("scenes-turbo", device="cpu")
    >>> model.image_size, model.defaults.steps
    ((128, 128), 4)
    """
    loading = loading or Loading()
    place = find_device(device)
    folder = _folder(name, loading)
    adapter = serving(pipeline_class(name, folder))
    return adapter.from_folder(name, folder, device=place, dtype=dtype, loading=loading)


def from_pipe(pipe: Any, *, scheduler: str | None = None, spacing: str | None = None) -> ModelAdapter:
    """The model in a diffusers pipeline, or a subclass of one, whose weights it shares and which it does not change.

    `scheduler` and `spacing` are those of `Loading`, for the model alone: the pipeline keeps its own. Raises RnriError
    for a pipeline that no family serves, and for a scheduler that cannot be inverted.
    """
    options = Loading(scheduler=scheduler, spacing=spacing)
    names = [kind.__name__ for kind in type(pipe).__mro__]
    adapter = serving(next((name for name in names if name in MODELS), names[0]))
    return adapter.from_pipe(pipe, scheduler=options.scheduler, spacing=options.spacing)


def from_components(
    pipeline: str, *, network: Any, vae: Any, scheduler: Any, device: torch.device, loading: Loading | None = None
) -> ModelAdapter:
    """A model of some components of a pipeline class, which can do everything but embed prompts.

    Raises RnriError for options of `loading` that concern files: there are none.
    """
    loading, adapter = loading or Loading(), serving(pipeline)
    for option in ("lora", "variant", "preview", "allow_pickle"):
        if getattr(loading, option):
            raise RnriError(f"{option} has no effect on a model that is made of its components", hint="leave it out")
    acceleration.check_place(device, loading)
    for module in (network, vae):
        module.requires_grad_(False).eval()
    own = choose(scheduler, loading.scheduler, loading.spacing)
    pipe = assemble(pipeline, {adapter.network_component: network, "vae": vae, "scheduler": own})
    model = adapter(pipeline, pipe)
    model.place(device, loading)
    return model


def component(kind: str, settings: Mapping[str, Any]) -> Any:
    """A component of a pipeline: a class of diffusers by its name, with these settings and random weights."""
    import diffusers

    return getattr(diffusers, kind)(**settings)


def serving(pipeline: str) -> type[ModelAdapter]:
    """The adapter of a pipeline class; RnriError if no family serves it."""
    if pipeline not in MODELS:
        raise RnriError(f"no model family serves {pipeline}", hint=f"use one of {', '.join(MODELS)}")
    adapter: type[ModelAdapter] = imported(MODELS[pipeline])
    return adapter


def family_rows() -> list[tuple[str, ...]]:
    """The families that are served, a row under `FAMILY_HEADS` for each pipeline class."""
    rows: list[tuple[str, ...]] = []
    for pipeline in MODELS:
        try:
            kind = serving(pipeline)
        except RnriError as error:  # a plugin that cannot be imported hides no other family
            _LOG.warning("%s", error)
            continue
        about = (", ".join(kind.samplers), str(kind.steps), kind.recommended, f"{kind.gigabytes:g}")
        rows.append((kind.title, pipeline, *about, ", ".join(kind.examples)))
    return rows


def find_device(name: str | torch.device) -> torch.device:
    """The device of this name, "auto" the first of cuda, mps and cpu; RnriError if it is not available."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        if torch.empty(1, device=device).is_meta:
            raise RuntimeError("tensors without data")
    except (RuntimeError, AssertionError) as error:
        raise RnriError(f"device {str(name)!r} is not available here", hint="use auto or cpu") from error
    return device


def _folder(name: str, loading: Loading) -> Path:
    if name in EMBEDDED:
        return embedded(name)
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RnriError(
            f"unknown model {name!r}", hint=f"use {', '.join(EMBEDDED)}, a folder, or a Hub id such as owner/name"
        )
    return folder_of(name, MODELS, loading)
