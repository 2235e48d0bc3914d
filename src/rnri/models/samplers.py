"""diffusers' schedulers as tables of steps: what a checkpoint's own sampler does, in a form that can be inverted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from rnri.schedule import Schedule, ddim, euler, euler_ancestral, lcm

Shape = tuple[int, int, int]


def table(scheduler: Any, num_steps: int, *, shape: Shape, generator: torch.Generator | None = None) -> Schedule:
    """The steps a diffusers scheduler takes in `num_steps`, noisy to clean; the scheduler given is not changed.

    `shape` is that of one latent, `generator` draws the noise of samplers that add some.

    Raises ValueError where a step is not affine in the latent and the network's output, or would be noisy and no
    generator is given.

    >>> from diffusers import DDIMScheduler
    >>> [step.t for step in table(DDIMScheduler(clip_sample=False, timestep_spacing="trailing"), 4, shape=(4, 8, 8))]
    [999.0, 749.0, 499.0, 249.0]
    """
    kind, config = type(scheduler).__name__, scheduler.config
    if kind not in TABLES:
        raise ValueError(f"{kind} cannot be inverted step by step: use one of {', '.join(TABLES)}")
    for option in ("clip_sample", "thresholding"):
        if config.get(option):
            raise ValueError(f"a sampler that clips cannot be inverted: set {option!r} to false in {kind}'s config")
    most = config.num_train_timesteps
    if not (isinstance(num_steps, int) and 1 <= num_steps <= most):
        raise ValueError(f"steps={num_steps} is out of range: give a whole number from 1 to {most}")
    fresh = type(scheduler).from_config(config)
    fresh.set_timesteps(num_steps)
    return TABLES[kind](fresh, shape, generator)


def last(schedule: Schedule, strength: float) -> Schedule:
    """The last ⌊steps · strength⌋ steps, as image-to-image pipelines have it; ValueError if that is none or too many.

    >>> last(tuple("abcd"), 0.6)
    ('c', 'd')
    """
    steps = len(schedule)
    if not 1 <= steps * strength <= steps:
        raise ValueError(f"strength={strength} is out of range: give {1 / steps:.2g} to 1 to keep 1 to {steps} steps")
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
    return euler(scheduler.sigmas, scheduler.timesteps.tolist(), scheduler.config.prediction_type)


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


def _given(generator: torch.Generator | None, scheduler: Any) -> torch.Generator:
    if generator is None:
        raise ValueError(f"{type(scheduler).__name__} adds noise at every step: give a generator to draw it from")
    return generator


TABLES: dict[str, Callable[[Any, Shape, torch.Generator | None], Schedule]] = {
    "DDIMScheduler": _ddim,
    "EulerDiscreteScheduler": _euler,
    "EulerAncestralDiscreteScheduler": _euler_ancestral,
    "LCMScheduler": _lcm,
}
