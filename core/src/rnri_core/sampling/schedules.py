"""Samplers as tables of steps, noisy to clean: they differ only in their noise levels.

A table is made of the noise levels and timesteps of a scheduler, each step of it by
:func:`rnri_core.sampling.steps.step_between`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Prediction, Schedule, step_between


def ddim(
    alphas_cumprod: Tensor,
    timesteps: Iterable[int],
    prediction_type: Prediction = "epsilon",
    *,
    final_alpha: float = 1.0,
    stride: int | None = None,
) -> Schedule:
    """DDIM, η = 0 (Song et al. 2021, Eq. 12), without clipping: α = √ᾱ, σ = √(1 − ᾱ).

    Args:
        alphas_cumprod: ᾱ of each training timestep, (T,).
        timesteps: timesteps of the steps, noisy to clean.
        prediction_type: prediction type of the network.
        final_alpha: ᾱ at the end of the last step.
        stride: a step ends at t − ``stride``, as in the scheduler of diffusers; without it, at the next timestep.

    >>> ddim(torch.linspace(0.99, 0.1, 10), [9, 4])[0].spectrum()
    (0.671..., 2.438...)
    """
    bars = alphas_cumprod.double().tolist()
    visited = [int(t) for t in timesteps]
    ends = [t - stride for t in visited] if stride else [*visited[1:], -1]
    steps = []
    for t, end in zip(visited, ends, strict=True):
        bar, bar_clean = bars[t], bars[end] if end >= 0 else final_alpha
        levels = (math.sqrt(bar), math.sqrt(1 - bar), math.sqrt(bar_clean), math.sqrt(1 - bar_clean))
        dense = _variance_preserving(bar, bars[t - 1] if t else final_alpha)
        steps.append(
            step_between(t, levels, prediction_type, effective=_variance_preserving(bar, bar_clean), dense=dense)
        )
    return tuple(steps)


def euler(
    sigmas: Sequence[float] | Tensor, timesteps: Iterable[float], prediction_type: Prediction = "epsilon"
) -> Schedule:
    """Euler's method in the variance-exploding form z = x₀ + σ n: z_clean = z + (σ′ − σ) ε(z/√(σ² + 1)).

    Args:
        sigmas: σ at each timestep, falling, then σ at the end of the last step.
        timesteps: timesteps of the steps, one fewer.
        prediction_type: prediction type of the network.

    >>> [round(step.b, 3) for step in euler([14.6, 1.0, 0.0], [999, 400])]
    [-13.6, -1.0]
    """
    return tuple(
        step_between(t, (1.0, sigma, 1.0, end), prediction_type, scale=1 / math.sqrt(sigma**2 + 1))
        for t, sigma, end in _intervals(timesteps, sigmas)
    )


def euler_ancestral(
    sigmas: Sequence[float] | Tensor,
    timesteps: Iterable[float],
    prediction_type: Prediction = "epsilon",
    *,
    shape: Sequence[int],
    generator: torch.Generator,
) -> Schedule:
    """Euler-ancestral with frozen noise: down to σ_down = σ′²/σ, then back up to σ′ with the noise of ``generator``.

    Args:
        sigmas, timesteps, prediction_type: see :func:`euler`.
        shape: shape of the latents of one image; all images of a batch have the same noise.
        generator: source of the noise, which is generated here.

    >>> steps = euler_ancestral([14.6, 1.0, 0.0], [999, 400], shape=(4, 8, 8), generator=torch.Generator())
    >>> [None if step.c is None else tuple(step.c.shape) for step in steps]
    [(4, 8, 8), None]
    """
    steps = []
    for t, sigma, end in _intervals(timesteps, sigmas):
        up = math.sqrt(end**2 * (sigma**2 - end**2) / sigma**2)
        c = up * _noise(shape, generator) if up else None
        steps.append(
            step_between(t, (1.0, sigma, 1.0, end**2 / sigma), prediction_type, c=c, scale=1 / math.sqrt(sigma**2 + 1))
        )
    return tuple(steps)


def lcm(
    alphas_cumprod: Tensor,
    timesteps: Iterable[int],
    prediction_type: Prediction = "epsilon",
    *,
    shape: Sequence[int],
    generator: torch.Generator,
    sigma_data: float = 0.5,
    timestep_scaling: float = 10.0,
) -> Schedule:
    """Multistep consistency sampling with frozen noise (Luo et al. 2023): z_clean = α′ (c_skip z + c_out x̂) + σ′ n.

    The last step ends at the image, without noise. Each step discards nearly all of z, so this table inverts badly, see
    :meth:`Step.spectrum`.

    Args:
        alphas_cumprod, timesteps, prediction_type: see :func:`ddim`.
        shape, generator: see :func:`euler_ancestral`.
        sigma_data, timestep_scaling: constants of c_skip and c_out, as in the scheduler of diffusers.

    >>> bars = torch.linspace(0.9995, 0.99, 1000).cumprod(0)
    >>> [step.t for step in lcm(bars, [999, 499], shape=(4, 8, 8), generator=torch.Generator())]
    [999.0, 499.0]
    """
    bars = alphas_cumprod.double().tolist()
    visited = [int(t) for t in timesteps]
    steps = []
    for t, end in zip(visited, [*visited[1:], None], strict=True):
        bar, bar_clean = bars[t], 1.0 if end is None else bars[end]
        alpha, sigma, alpha_clean = math.sqrt(bar), math.sqrt(1 - bar), math.sqrt(bar_clean)
        spread = math.hypot(t * timestep_scaling, sigma_data)
        skip, out = (sigma_data / spread) ** 2, t * timestep_scaling / spread
        levels = (alpha, sigma, alpha_clean * (out + alpha * skip), alpha_clean * sigma * skip)
        c = None if end is None else math.sqrt(1 - bar_clean) * _noise(shape, generator)
        dense = _variance_preserving(bar, bars[t - 1] if t else 1.0)
        steps.append(
            step_between(t, levels, prediction_type, c=c, effective=_variance_preserving(bar, bar_clean), dense=dense)
        )
    return tuple(steps)


def flow(sigmas: Sequence[float] | Tensor, timesteps: Iterable[float]) -> Schedule:
    """Euler's method on a rectified flow, z = (1 − σ) x₀ + σ n: z_clean = z + (σ′ − σ) v(z, t).

    Args:
        sigmas: σ at each timestep, falling from at most 1, then σ at the end of the last step.
        timesteps: timesteps of the steps, one fewer.

    >>> [round(step.b, 3) for step in flow([1.0, 0.5, 0.0], [1000, 500])]
    [-0.5, -0.5]
    """
    steps = []
    for t, sigma, end in _intervals(timesteps, sigmas):
        gamma = (1 - sigma) / (1 - end)
        transition = (gamma, sigma**2 - (gamma * end) ** 2)
        steps.append(step_between(t, (1 - sigma, sigma, 1 - end, end), "flow", effective=transition, dense=transition))
    return tuple(steps)


def _intervals(timesteps: Iterable[float], sigmas: Sequence[float] | Tensor) -> list[tuple[float, float, float]]:
    """(t, σ, σ′) of each step, checked to fall."""
    times = [float(t) for t in timesteps]
    values = [float(s) for s in sigmas]
    if len(values) != len(times) + 1:
        raise RnriError(
            f"{len(times)} timesteps need {len(times) + 1} sigmas, the last where sampling ends; got {len(values)}"
        )
    if any(end >= start for start, end in itertools.pairwise(values)):
        raise RnriError(f"sigmas must fall from noise to image; got {values}")
    return list(zip(times, values, values[1:], strict=False))


def _variance_preserving(bar: float, bar_clean: float) -> tuple[float, float]:
    """(γ, β) of the noising that takes ᾱ′ to ᾱ: γ = √(ᾱ/ᾱ′), β = 1 − ᾱ/ᾱ′."""
    return math.sqrt(bar / bar_clean), 1 - bar / bar_clean


def _noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, device=generator.device)
