"""Common parts of the methods for rectified flows: the velocity at any noise level."""

from __future__ import annotations

from collections.abc import Callable

import torch
from rnri_core.errors import RnriError
from torch import Tensor

from rnri.baselines.canvas import Canvas

Velocity = Callable[[Tensor, float], Tensor]
"""(latents (B, …), σ) → dz/dσ, for z = (1 − σ) x₀ + σ n."""


Walk = Callable[[Velocity, list[float], Tensor], Tensor]
"""Follows a velocity through noise levels, from these latents: a solver of the flow."""


def there_and_back(walk: Walk, canvas: Canvas, method: str, guidance: float) -> Tensor:
    """The latents of the edits: from the picture to noise as its prompt has it, and back as the targets have it."""
    levels = sigmas(canvas, method)
    noise = walk(velocity(canvas, [canvas.source]), levels[::-1], canvas.clean)
    return walk(velocity(canvas, canvas.targets, guidance), levels, canvas.spread(noise))


def velocity(canvas: Canvas, prompts: list[str], guidance: float | None = None) -> Velocity:
    """The velocity of the model, bound to prompts."""
    m = canvas.network(prompts, guidance)
    pace = canvas.schedule[0].t / canvas.schedule[0].levels[1]

    def v(z: Tensor, sigma: float) -> Tensor:
        with torch.no_grad():
            return m(z, pace * sigma).to(z.dtype)

    return v


def sigmas(canvas: Canvas, method: str) -> list[float]:
    """σ at each step, noisy first, and where the last step ends; ValueError unless the model is a rectified flow."""
    for step in canvas.schedule:
        alpha, sigma, alpha_clean, sigma_clean = step.levels
        if abs(alpha + sigma - 1) > 1e-6 or abs(alpha_clean + sigma_clean - 1) > 1e-6 or step.c is not None:
            raise RnriError(
                f"{method} is for rectified flows, and {canvas.editor.model.name} is none",
                hint="use infedit or inversion, or a flow model such as Stable Diffusion 3 or Flux",
            )
    return [step.levels[1] for step in canvas.schedule] + [canvas.schedule[-1].levels[3]]
