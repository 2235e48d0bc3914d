"""The automatic mask: the source is kept where the first x₀ predictions for source and target agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.controls.base import Context, Control, ControlState, Prediction
from rnri_core.controls.masks import blurred, dilated
from rnri_core.inversion.inversion import Inversion
from rnri_core.registry import option

FLOOR = 0.02
"""Differences below this are rounding and change nothing; in units of latents, whose standard deviation is about 1."""

RAMP = 0.5
"""Width of the mask's rise around the threshold, as a share of it, so that rounding or another batch flips no cell."""

LARGE_ERROR = 0.25
"""Prediction error of the source, in the same units, from which on edges are blurred fully, as the content sampled
there may not match its surroundings; with a smaller error they are harder."""

STEPS = 4
"""The mask's edge has the same softness after any number of steps: that of this many blends."""


@dataclass(frozen=True)
class AutomaticMask(Control[Context]):
    """Keep the source where the first x₀ prediction for the target agrees with the source's; the default of edits.

    The map is |x̂(z, target) − x̂(z, source)|, the mean over channels, at the latents z at which the edit starts. The
    edit evaluates the first anyway, and the inversion has the second: no evaluation is added. Where the map is below
    the threshold, the latents stay the source's. The threshold is a share of the largest difference, or the prediction
    error of the source there, e = mean |x̂(z, source) − x₀|, where that is smaller. DiffEdit computes its mask at
    latents noised at random, with evaluations of its own.

    Elsewhere ``attenuation`` of the prediction error x₀ − x̂(z, source) of each step is removed from the inversion's
    noise maps, as it is content of the source as well; in no element more than |x̂(z, target) − x̂(z, source)|, as
    nothing else would take its place. The noise in maps of stochastic samplers
    (:class:`rnri_core.inversion.edit_friendly.EditFriendly`) is kept.

    The mask w, interpolated by min(1, 4e) towards its Gaussian ``blur``, is applied at each of K steps as
    z ← z_source + w^(4/K)·(z − z_source): repeated blending hardens a soft edge, and the power makes its softness
    independent of K.
    """

    source = publications.DIFFEDIT
    passage = "Section 3.2, at the edit's own first step"
    neutral: ClassVar = {"threshold": 0.0, "attenuation": 0.0}

    threshold: float = option(
        0.2, "upper bound of the threshold, as a share of the largest difference", low=0.0, high=1.0
    )
    dilate: int = option(1, "cells of the latents by which the mask is dilated", low=0, high=16)
    blur: float = option(
        2.0,
        "standard deviation of the Gaussian on its edges, in cells, at a large prediction error",
        low=0.0,
        high=16.0,
    )
    attenuation: float = option(
        0.5, "share of x₀ − x̂(z, source) removed from the noise maps where the image changes", low=0.0, high=1.0
    )

    def state(self, context: Context) -> ControlState:
        return _AutomaticMask(context, self)


class _AutomaticMask(ControlState):
    """``changed`` is the mask (P, 1, h, w) of the first step, 1 where the image changes."""

    def __init__(self, context: Context, control: AutomaticMask) -> None:
        self.context, self.control = context, control
        self.changed: Tensor | None = None

    def noise_map(self, k: int, delta: Tensor, prediction: Prediction) -> Tensor:
        error, change = self._differences(k, prediction)
        if self.changed is None:
            self.changed = self._mask(error, change)
        limit = change.abs()
        removed = (self.control.attenuation * error).clamp(-limit, limit)
        return delta - self.changed * self.context.source.schedule[k].weight * removed

    def blend(self, k: int, z: Tensor, prediction: Prediction) -> Tensor:
        if self.changed is None:
            self.changed = self._mask(*self._differences(k, prediction))
        return torch.lerp(self.context.source.latents[k + 1].to(z), z, self.changed ** (STEPS / self.context.steps))

    def _differences(self, k: int, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """x₀ − x̂(z_source, source) and x̂(z, target) − x̂(z_source, source); all as the inversion was guided."""
        source, step = self.context.source, self.context.source.schedule[k]
        output = prediction.output if self.context.source_guided else prediction.conditional
        expected = predicted_x0(source, k, prediction.z)
        target = step.x0_from_step(prediction.z, step.step(prediction.z, output))
        return source.clean.to(prediction.z) - expected, target - expected

    def _mask(self, error: Tensor, change: Tensor) -> Tensor:
        control, heat = self.control, change.abs().mean(1, keepdim=True)
        mean_error = error.abs().mean((1, 2, 3), keepdim=True)
        mask = torch.ones_like(heat)
        if control.threshold:
            share = control.threshold * heat.amax((2, 3), keepdim=True)
            threshold = torch.minimum(share, mean_error).clamp_min(FLOOR)
            mask = ((heat / threshold - 1) / RAMP + 0.5).clamp(0, 1)
        mask = dilated(mask, control.dilate)
        return torch.lerp(mask, blurred(mask, control.blur), (mean_error / LARGE_ERROR).clamp(max=1))


def predicted_x0(source: Inversion, k: int, like: Tensor) -> Tensor:
    """x̂(z, source) at the inversion's latents z of step ``k``, from its trajectory: no network evaluation."""
    end = source.latents[k + 1].to(like)
    if source.noise_maps is not None:
        end = end - source.noise_maps[k].to(like)
    return source.schedule[k].x0_from_step(source.latents[k].to(like), end)
