"""Schedulers of diffusers as tables of steps, the form in which a sampler can be inverted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from rnri_core.errors import RnriError
from rnri_core.sampling.schedules import ddim, euler, euler_ancestral, flow, lcm
from rnri_core.sampling.steps import Schedule

from rnri.models.loading import SCHEDULERS
from rnri.models.quiet import quiet

Shape = tuple[int, int, int]
Table = Callable[[Any, Shape, torch.Generator | None], Schedule]
"""(scheduler with its timesteps set, shape of one latent, generator of frozen noise) → its steps, noisy to clean."""


def imported(entry: Any) -> Any:
    """The object of an entry `module:name` of a table; an entry that is the object itself is returned."""
    if not isinstance(entry, str):
        return entry
    module, _, name = entry.partition(":")
    return getattr(import_module(module), name)


def choose(own: Any, name: str | None, spacing: str | None = None) -> Any:
    """Choose the scheduler of a model.

    Args:
        own: the checkpoint's own scheduler, which is not changed.
        name: a key of `SCHEDULERS` to replace it, with its noise levels and prediction type; `None` to keep it.
        spacing: where the steps lie, one of `SPACINGS`; `None` as the checkpoint has it.

    Raises:
        RnriError: where the scheduler cannot be inverted, with the reason and the nearest that can; where it does not
            fit the network's prediction; and for the schedulers of EDM, which have no nearest.

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
    if name not in (names := fitting(flow=flows)):
        predicted = "a flow" if flows else "noise, not a flow"
        raise RnriError(
            f"scheduler {name!r} does not fit a network that predicts {predicted}", hint=f"use {' or '.join(names)}"
        )
    import diffusers

    changes: dict[str, Any] = dict.fromkeys(REFUSED, False)
    if flows and "flow_shift" in own.config:
        changes["shift"] = own.config.flow_shift
    if spacing is not None:
        changes["timestep_spacing"] = spacing
    return _made(getattr(diffusers, SCHEDULERS[name][0]), own, changes)


def _made(kind: Any, own: Any, changes: Mapping[str, Any]) -> Any:
    """A scheduler of a class with another's settings and these changes; RnriError if its steps cannot be spaced so."""
    if "timestep_spacing" in changes and not _is_spaced(kind):
        raise RnriError(f"spacing {changes['timestep_spacing']!r} does not fit {kind.__name__}", hint="leave it out")
    with quiet():
        return kind.from_config(own.config, **changes)  # changes to the config itself are lost where it has the default


def _is_spaced(kind: Any) -> bool:
    """Whether the steps of a class of schedulers lie elsewhere with another `timestep_spacing`."""
    timesteps: list[list[float]] = []
    for spacing in ("leading", "trailing"):
        with quiet():
            scheduler = kind.from_config({}, timestep_spacing=spacing)
        scheduler.set_timesteps(4)
        timesteps.append(scheduler.timesteps.tolist())
    return timesteps[0] != timesteps[1]


def fitting(*, flow: bool) -> tuple[str, ...]:
    """The samplers of networks that predict a flow, or of those that predict noise, v or the image.

    >>> fitting(flow=True)
    ('flow',)
    """
    return tuple(name for name, (kind, _) in SCHEDULERS.items() if kind.startswith("FlowMatch") is flow)


def _predicts_flow(scheduler: Any) -> bool:
    config = scheduler.config
    return (
        type(scheduler).__name__.startswith("FlowMatch")
        or config.get("prediction_type") == "flow_prediction"
        or bool(config.get("use_flow_sigmas"))
    )


def _check_scaling(scheduler: Any) -> None:
    """Raise RnriError for networks of EDM (Karras et al. 2022, eq. 7), whose inputs and outputs are scaled."""
    if "sigma_data" in scheduler.config:
        raise RnriError(
            f"{type(scheduler).__name__} cannot be inverted, nor replaced",
            hint="inputs and outputs of its network are scaled by sigma_data, as EDM has it, which no scheduler here "
            "does; use another model",
        )


def _check(scheduler: Any) -> None:
    """Raise RnriError for a scheduler whose steps are not affine in the latent and the network's output."""
    _check_scaling(scheduler)
    kind, config = type(scheduler).__name__, scheduler.config
    short = kind.removesuffix("Scheduler")
    served = {each: name for name, (each, _) in SCHEDULERS.items()}
    near = next((name for name, kinds in NEAREST.items() if short in kinds), "ddim")
    nearest = served.get(kind, "flow" if _predicts_flow(scheduler) else near)
    if kind not in served:
        reason = next((why for why, kinds in REASONS.items() if short in kinds), "there is no table of its steps")
        raise RnriError(
            f"{kind} cannot be inverted step by step", hint=f"{reason}; the nearest that can is scheduler {nearest}"
        )
    if config.get("invert_sigmas"):
        raise RnriError(
            f"{kind} with 'invert_sigmas' cannot be inverted",
            hint="its levels rise from the noise to the image, which no sampler here has; use another model",
        )
    for option in REFUSED:
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
    """The steps that a scheduler of diffusers takes, noisy to clean.

    A last step that ends at the noise level it starts at, where `final_sigmas_type` is "sigma_min", changes nothing and
    is left out.

    Args:
        scheduler: the scheduler, which is not changed.
        num_steps: number of steps, from 1.
        shape: (C, h, w) of one latent.
        generator: source of the noise of samplers that add some, frozen in the steps.
        timesteps: further arguments of the scheduler's `set_timesteps`.

    Raises:
        RnriError: where a step is not affine in the latent and the network output, or adds noise and there is no
            generator.

    >>> from diffusers import DDIMScheduler
    >>> [step.t for step in table(DDIMScheduler(clip_sample=False, timestep_spacing="trailing"), 4, shape=(4, 8, 8))]
    [999.0, 749.0, 499.0, 249.0]
    """
    _check(scheduler)
    read: Table = imported(dict(SCHEDULERS.values())[type(scheduler).__name__])
    return read(_fresh(scheduler, num_steps, timesteps), shape, generator)


def noise_scale(scheduler: Any, num_steps: int, *, timesteps: Mapping[str, Any] | None = None) -> float:
    """The factor of white noise before the first step (`init_noise_sigma`); 1 where a scheduler has none.

    `timesteps` is as in :func:`table`.

    >>> from diffusers import EulerDiscreteScheduler
    >>> [round(noise_scale(EulerDiscreteScheduler(timestep_spacing=how), 4), 2) for how in ("trailing", "leading")]
    [157.41, 17.41]
    """
    return float(getattr(_fresh(scheduler, num_steps, timesteps), "init_noise_sigma", 1.0))


def _fresh(scheduler: Any, num_steps: int, timesteps: Mapping[str, Any] | None) -> Any:
    """A copy of the scheduler at the start of so many steps; RnriError for a number out of range."""
    most = scheduler.config.num_train_timesteps
    if not (isinstance(num_steps, int) and 1 <= num_steps <= most):
        raise RnriError(
            f"steps={num_steps} is out of range", hint=f"give a whole number from 1 to {most}", field="steps"
        )
    fresh = type(scheduler).from_config(scheduler.config)
    try:
        fresh.set_timesteps(num_steps, **(timesteps or {}))
    except ValueError as error:
        limit = scheduler.config.get("original_inference_steps", num_steps)
        hint = f"give a whole number from 1 to {limit}" if limit < num_steps else " ".join(str(error).split())
        raise RnriError(
            f"steps={num_steps} does not fit {type(scheduler).__name__}", hint=hint, field="steps"
        ) from error
    return fresh


def ddim_table(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return ddim(
        scheduler.alphas_cumprod,
        scheduler.timesteps.tolist(),
        scheduler.config.prediction_type,
        final_alpha=float(scheduler.final_alpha_cumprod),
        stride=scheduler.config.num_train_timesteps // scheduler.num_inference_steps,
    )


def euler_table(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
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


def euler_ancestral_table(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return euler_ancestral(
        scheduler.sigmas,
        scheduler.timesteps.tolist(),
        scheduler.config.prediction_type,
        shape=shape,
        generator=required_generator(generator, scheduler),
    )


def lcm_table(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return lcm(
        scheduler.alphas_cumprod,
        scheduler.timesteps.tolist(),
        scheduler.config.prediction_type,
        shape=shape,
        generator=required_generator(generator, scheduler),
        timestep_scaling=scheduler.config.timestep_scaling,
    )


def flow_table(scheduler: Any, shape: Shape, generator: torch.Generator | None) -> Schedule:
    return flow(scheduler.sigmas, scheduler.timesteps.tolist())


def required_generator(generator: torch.Generator | None, scheduler: Any) -> torch.Generator:
    """The generator of frozen noise; RnriError if a stochastic sampler is given none."""
    if generator is None:
        raise RnriError(f"{type(scheduler).__name__} adds noise at every step", hint="give a generator to draw it from")
    return generator


def dynamic_shift(scheduler: Any, tokens: int, *, most: float = 1.15) -> float:
    """μ, by which the noise levels of a flow are shifted: linear in the number of image tokens.

    It is `base_shift` at `base_image_seq_len` tokens and `max_shift` at `max_image_seq_len`, of the scheduler's config;
    `most` is `max_shift` where the config has none.
    """
    config = scheduler.config
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", most)
    return float(least + (most - least) / (many - few) * (tokens - few))


def even_sigmas(num_steps: int) -> np.ndarray:
    """Noise levels of a flow from 1 down to 1/n, before they are shifted."""
    return np.linspace(1.0, 1 / num_steps, num_steps)


REFUSED = ("clip_sample", "thresholding", "stochastic_sampling")
"""Options of a scheduler with which no step is a row of a table: refused in a checkpoint's own, off in another."""

REASONS = {
    "its steps use network outputs of the steps before": (
        *("DEISMultistep", "DPMSolverMultistep", "IPNDM", "LMSDiscrete", "PNDM", "SASolver", "UniPCMultistep"),
    ),
    "its steps call the network more than once": (
        *("DPMSolverSDE", "DPMSolverSinglestep", "FlowMatchHeunDiscrete", "HeunDiscrete"),
        *("KDPM2AncestralDiscrete", "KDPM2Discrete"),
    ),
}
"""Why schedulers have no table; names without `Scheduler`."""

NEAREST = {
    "euler": ("HeunDiscrete", "KDPM2Discrete", "LMSDiscrete"),
    "euler-ancestral": ("DPMSolverSDE", "KDPM2AncestralDiscrete"),
    "lcm": ("TCD",),
}
"""The nearest sampler that has a table, where it is not DDIM."""
