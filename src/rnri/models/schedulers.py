"""diffusers' schedulers as tables of steps: what a checkpoint's own sampler does, in a form that can be inverted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Schedule, ddim, euler, euler_ancestral, flow, lcm

from rnri.models.quiet import quiet

Shape = tuple[int, int, int]


def choose(own: Any, name: str | None, spacing: str | None = None) -> Any:
    """The scheduler called `name`, with the noise levels and the prediction of a checkpoint's own; without one, that.

    `spacing` is where its steps lie, where not as the checkpoint says. The scheduler given is not changed. Raises
    ValueError where it cannot be inverted, saying why and which is the nearest that can, where the network does not
    predict what it needs, and for the schedulers of EDM, which have no nearest.

    >>> from diffusers import PNDMScheduler
    >>> type(choose(PNDMScheduler(), "euler")).__name__
    'EulerDiscreteScheduler'
    >>> choose(PNDMScheduler(), "ddim", "trailing").config.timestep_spacing
    'trailing'
    """
    _check_scaling(own)
    if name is None:
        _check(own)
        return own if spacing is None else _made(type(own), own, {"timestep_spacing": spacing})
    flows = _predicts_flow(own)
    if flows is not (name == "flow"):
        fitting = ["flow"] if flows else [each for each in NAMES if each != "flow"]
        said = "a flow" if flows else "noise, not a flow"
        raise RnriError(
            f"scheduler {name!r} does not fit a network that predicts {said}", hint=f"use {' or '.join(fitting)}"
        )
    import diffusers

    changes: dict[str, Any] = {"clip_sample": False, "thresholding": False}
    if flows and "flow_shift" in own.config:
        changes["shift"] = own.config.flow_shift
    if spacing is not None:
        changes["timestep_spacing"] = spacing
    return _made(getattr(diffusers, NAMES[name]), own, changes)


def _made(kind: Any, own: Any, changes: Mapping[str, Any]) -> Any:
    """A scheduler of a class with another's settings but for these; ValueError if it cannot be spaced as they say."""
    if "timestep_spacing" in changes and kind.__name__ in SPACED_BY_THEMSELVES:
        raise RnriError(f"spacing {changes['timestep_spacing']!r} does not fit {kind.__name__}", hint="leave it out")
    with quiet():
        return kind.from_config(own.config, **changes)  # in the config, changes of what is at its default are lost


def _predicts_flow(scheduler: Any) -> bool:
    config = scheduler.config
    return (
        type(scheduler).__name__.startswith("FlowMatch")
        or config.get("prediction_type") == "flow_prediction"
        or bool(config.get("use_flow_sigmas"))
    )


def _check_scaling(scheduler: Any) -> None:
    """Raise ValueError for a network of EDM's (Karras et al. 2022, eq. 7), which no scheduler here scales for."""
    if "sigma_data" in scheduler.config:
        raise RnriError(
            f"{type(scheduler).__name__} cannot be inverted, nor replaced",
            hint="its network takes and gives what is scaled by sigma_data, as EDM has it, and no scheduler here "
            "does that; use another model",
        )


def _check(scheduler: Any) -> None:
    """Raise ValueError for a scheduler whose steps are not affine in the latent and the network's output."""
    _check_scaling(scheduler)
    kind, config = type(scheduler).__name__, scheduler.config
    nearest = "flow" if _predicts_flow(scheduler) else NEAREST.get(kind, "ddim")
    if kind not in TABLES:
        reason = next((why for why, kinds in REASONS.items() if kind in kinds), "there is no table of its steps")
        raise RnriError(
            f"{kind} cannot be inverted step by step", hint=f"{reason}; the nearest that can is scheduler {nearest}"
        )
    for option in ("clip_sample", "thresholding", "stochastic_sampling", "invert_sigmas"):
        if config.get(option):
            raise RnriError(
                f"a sampler that has {option!r} cannot be inverted",
                hint=f"set {option!r} to false in {kind}'s config, or use scheduler {nearest}",
            )


def table(
    scheduler: Any,
    num_steps: int,
    *,
    shape: Shape,
    generator: torch.Generator | None = None,
    timesteps: Mapping[str, Any] | None = None,
) -> Schedule:
    """The steps a diffusers scheduler takes in `num_steps`, noisy to clean; the scheduler given is not changed.

    `shape` is that of one latent, `generator` draws the noise of samplers that add some, `timesteps` is what else the
    scheduler's `set_timesteps` is told. A last step that ends at the noise level it starts at, where
    `final_sigmas_type` is "sigma_min", changes nothing and is left out.

    Raises ValueError where a step is not affine in the latent and the network's output, or would be noisy and no
    generator is given.

    >>> from diffusers import DDIMScheduler
    >>> [step.t for step in table(DDIMScheduler(clip_sample=False, timestep_spacing="trailing"), 4, shape=(4, 8, 8))]
    [999.0, 749.0, 499.0, 249.0]
    """
    _check(scheduler)
    return TABLES[type(scheduler).__name__](_fresh(scheduler, num_steps, timesteps), shape, generator)


def noise_scale(scheduler: Any, num_steps: int, *, timesteps: Mapping[str, Any] | None = None) -> float:
    """What diffusers multiplies white noise by before the first step; 1 where a scheduler has no such number.

    `timesteps` is as in :func:`table`.

    >>> from diffusers import EulerDiscreteScheduler
    >>> [round(noise_scale(EulerDiscreteScheduler(timestep_spacing=how), 4), 2) for how in ("trailing", "leading")]
    [157.41, 17.41]
    """
    return float(getattr(_fresh(scheduler, num_steps, timesteps), "init_noise_sigma", 1.0))


def _fresh(scheduler: Any, num_steps: int, timesteps: Mapping[str, Any] | None) -> Any:
    """A copy of the scheduler at the start of so many steps; ValueError for a number that it cannot take."""
    most = scheduler.config.num_train_timesteps
    if not (isinstance(num_steps, int) and 1 <= num_steps <= most):
        raise RnriError(
            f"steps={num_steps} is out of range", hint=f"give a whole number from 1 to {most}", field="steps"
        )
    fresh = type(scheduler).from_config(scheduler.config)
    fresh.set_timesteps(num_steps, **(timesteps or {}))
    return fresh


def last(schedule: Schedule, strength: float) -> Schedule:
    """The last ⌊steps · strength⌋ steps, as image-to-image pipelines have it; ValueError if that is none or too many.

    >>> last(tuple("abcd"), 0.6)
    ('c', 'd')
    """
    steps = len(schedule)
    if not 1 <= steps * strength <= steps:
        raise RnriError(
            f"strength={strength} is out of range",
            hint=f"give {1 / steps:.2g} to 1 to keep 1 to {steps} steps",
            field="strength",
        )
    return schedule[-math.floor(steps * strength + 1e-9) :]  # 0.58 of 50 steps are 29, whatever floats say


def _ddim(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return ddim(
        scheduler.alphas_cumprod,
        scheduler.timesteps.tolist(),
        scheduler.config.prediction_type,
        final_alpha=float(scheduler.final_alpha_cumprod),
        stride=scheduler.config.num_train_timesteps // scheduler.num_inference_steps,
    )


def _euler(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    times = scheduler.timesteps.tolist()
    sigmas = scheduler.sigmas.tolist()[
        : len(times) + 1
    ]  # interpolation_type "log_linear" lists one that no step reaches
    if math.isclose(
        sigmas[-2], sigmas[-1], rel_tol=1e-5
    ):  # with final_sigmas_type "sigma_min": a step that changes nothing
        times, sigmas = times[:-1], sigmas[:-1]
    if not times:
        raise RnriError(
            f"in one step {type(scheduler).__name__} ends at the level it starts at", hint="take 2 steps or more"
        )
    return euler(sigmas, times, scheduler.config.prediction_type)


def _euler_ancestral(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return euler_ancestral(
        scheduler.sigmas,
        scheduler.timesteps.tolist(),
        scheduler.config.prediction_type,
        shape=shape,
        generator=_given(generator, scheduler),
    )


def _lcm(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return lcm(
        scheduler.alphas_cumprod,
        scheduler.timesteps.tolist(),
        scheduler.config.prediction_type,
        shape=shape,
        generator=_given(generator, scheduler),
        timestep_scaling=scheduler.config.timestep_scaling,
    )


def _flow(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return flow(scheduler.sigmas, scheduler.timesteps.tolist())


def _given(generator: torch.Generator | None, scheduler: Any) -> torch.Generator:
    if generator is None:
        raise RnriError(f"{type(scheduler).__name__} adds noise at every step", hint="give a generator to draw it from")
    return generator


TABLES: dict[str, Callable[[Any, Shape, torch.Generator | None], Schedule]] = {
    "DDIMScheduler": _ddim,
    "EulerDiscreteScheduler": _euler,
    "EulerAncestralDiscreteScheduler": _euler_ancestral,
    "LCMScheduler": _lcm,
    "FlowMatchEulerDiscreteScheduler": _flow,
}


def dynamic_shift(scheduler: Any, tokens: int, *, most: float = 1.15) -> float:
    """μ, by which the noise levels of a flow are shifted: linear in the number of image tokens.

    It is `base_shift` at `base_image_seq_len` tokens and `max_shift` at `max_image_seq_len`, of the scheduler's config;
    `most` is `max_shift` where the config has none.
    """
    config = scheduler.config
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", most)
    return least + (most - least) / (many - few) * (tokens - few)


def even_sigmas(num_steps: int) -> np.ndarray:
    """Noise levels of a flow from 1 down to 1/n, before they are shifted."""
    return np.linspace(1.0, 1 / num_steps, num_steps)


NAMES = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
    "flow": "FlowMatchEulerDiscreteScheduler",
}
"""Schedulers by the name they are asked for."""

SPACED_BY_THEMSELVES = ("FlowMatchEulerDiscreteScheduler", "LCMScheduler")
"""Whose steps lie where they lie, whatever `timestep_spacing` says."""

REASONS = {
    "its steps use network outputs of the steps before": (
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "IPNDMScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
        "SASolverScheduler",
        "UniPCMultistepScheduler",
    ),
    "its steps call the network more than once": (
        "DPMSolverSDEScheduler",
        "DPMSolverSinglestepScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
    ),
}
"""Why a scheduler has no table."""

NEAREST = {
    "DPMSolverSDEScheduler": "euler-ancestral",
    "HeunDiscreteScheduler": "euler",
    "KDPM2AncestralDiscreteScheduler": "euler-ancestral",
    "KDPM2DiscreteScheduler": "euler",
    "LMSDiscreteScheduler": "euler",
    "TCDScheduler": "lcm",
}
"""What comes next to it, where that is not DDIM."""
