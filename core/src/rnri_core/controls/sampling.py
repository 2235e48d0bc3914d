"""Sampling an inversion again under controls, with nothing but a denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rnri_core.controls.automatic_mask import AutomaticMask
from rnri_core.controls.base import Context, Control, ControlState, Prediction
from rnri_core.inversion.inversion import Inversion, Trajectory
from rnri_core.sampling.guidance import Combine, combine
from rnri_core.sampling.steps import Denoiser
from rnri_core.solvers.equation import at_least_float32

Predictor = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""(step index k, latents z (P, C, h, w) at its noisy end) → network output without and with guidance, both (P, …)."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """An inversion sampled again for P target prompts.

    Attributes:
        trajectory: schedule and latents (P, …) of every step, noise first; those before step ``first`` are the
            inversion's own. Latents that controls changed are not joined by noise maps.
        first: the step at which sampling started.
        masks: where the image may change, each (1 or P, 1, h, w) in [0, 1] of its own size.
        nfe: network evaluations, one for each latent of a batch.
    """

    trajectory: Trajectory
    first: int
    masks: tuple[Tensor, ...]
    nfe: int

    @property
    def latents(self) -> Tensor:
        """The clean latents (P, C, h, w)."""
        return self.trajectory.latents[-1]


def default_controls(source: Inversion) -> tuple[Control[Context], ...]:
    """The controls of ``controls="auto"``: the automatic mask where the inversion has noise maps, else none."""
    return () if source.noise_maps is None else (AutomaticMask(),)


def resample(
    m: Denoiser,
    source: Inversion,
    controls: Sequence[Control[Context]] | Literal["auto"] = "auto",
    *,
    count: int = 1,
    negative: Denoiser | None = None,
    guidance: float = 1.0,
    rule: Combine = combine,
) -> Sampled:
    """Sample an inversion again with a denoiser, under controls.

    Args:
        m: the denoiser for the target prompts, on latents (P, C, h, w), without guidance.
        source: the inversion of one image.
        controls: ``"auto"`` is :func:`default_controls`; they act in the order given.
        count: P, the number of target prompts.
        negative: the denoiser for the negative prompt, with which ``guidance`` is active.
        guidance: guidance scale.
        rule: how the two network outputs are combined.

    Raises:
        RnriError: where a control does not fit the inversion.

    >>> from rnri_core.inversion.presets import invert
    >>> from rnri_core.sampling.schedules import flow
    >>> schedule = flow([1.0, 0.5, 0.0], [1000, 500])
    >>> source = invert(lambda z, t: 0.1 * z, schedule, torch.ones(1, 4, 8, 8), "anderson", noise_maps=True)
    >>> [resample(lambda z, t: 0.1 * z, source, controls).latents.mean().item() for controls in ("auto", ())]
    [1.0, 1.0]
    """
    chosen = default_controls(source) if isinstance(controls, str) else controls
    context = Context(source=source, count=count, source_guided=negative is not None and source.guidance != 1)
    states = [control.state(context) for control in chosen if not control.idle]

    def predict(k: int, z: Tensor) -> tuple[Tensor, Tensor]:
        step = source.schedule[k]
        output = m(step.scale * z, step.t)
        return output, output if negative is None else rule(output, negative(step.scale * z, step.t), guidance)

    return run(predict, context, states, rows=count * (1 if negative is None else 2))


@torch.no_grad()
def run(
    predict: Predictor,
    context: Context,
    states: Sequence[ControlState],
    *,
    rows: int,
    device: torch.device | str | None = None,
) -> Sampled:
    """The sampling loop: for each step predict, step, add the noise map, blend.

    Args:
        predict: the network outputs of a step.
        context: the inversion, and how many edits of it.
        states: the controls at work, in order.
        rows: latents that the network evaluates at each step, for ``Sampled.nfe``.
        device: where it runs; where the inversion's latents are.
    """
    source = context.source
    first = max((state.first for state in states), default=0)
    latents = [
        z.to(source.noise.device if device is None else device).expand(context.count, *z.shape[1:])
        for z in source.latents[: first + 1]
    ]
    z = at_least_float32(latents[-1])
    for k in range(first, context.steps):
        prediction = Prediction(z, *(output.to(z.dtype) for output in predict(k, z)))
        z = source.schedule[k].step(z, prediction.output)
        if source.noise_maps is not None:
            delta = source.noise_maps[k].to(z)
            for state in states:
                delta = state.noise_map(k, delta, prediction)
            z = z + delta
        for state in states:
            z = state.blend(k, z, prediction)
        latents.append(z)
    masks = tuple(mask for state in states if (mask := state.mask()) is not None)
    nfe = rows * (context.steps - first) + sum(state.nfe for state in states)
    return Sampled(Trajectory(source.schedule, tuple(latents)), first, masks, nfe)
