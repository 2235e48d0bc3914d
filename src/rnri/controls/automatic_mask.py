"""The source stays where the target's first prediction agrees with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor
from torch.nn import functional

from rnri.controls.base import Bound, Control, Job
from rnri.controls.masks import blurred
from rnri.models.base import is_guided

FLOOR = 0.02
"""Differences below this are of rounding, and change nothing; in the unit of the latents, which deviate by about 1."""

RAMP = 0.5
"""Around the threshold the mask rises over this share of it, so that rounding, or another batch, flips no cell."""

UNSURE = 0.25
"""A network that sees the source with an error of this much, in that unit, or more, has edges as soft as they become,
as what it draws may not fit in with the rest; one that sees it better, harder ones."""

STEPS = 4
"""An edge is as soft after any number of steps as latents that are blended this many times make it."""


@dataclass(frozen=True)
class AutomaticMask(Control):
    """Hold the source where the first prediction for the target agrees with the source's; what edits do by default.

    The map is |x̂(z, target) − x̂(z, source)|, the mean over channels, at the latents z that the edit begins from. The
    edit asks the network for the first anyway, and the inversion knows the second: no evaluation is added. Where the
    map is below the threshold the latents stay the source's. That is a share of the largest difference, or the error
    with which the network sees the source there, e = |x̂(z, source) − x₀| in the mean, where that is smaller: what is
    more than an error counts. DiffEdit's mask is of latents noised at random, for evaluations of its own.

    Elsewhere the inversion's corrections lose ``attenuation`` of what the source prompt left unsaid at their step,
    x₀ − x̂(z, source), as that is old content too; but in no element more than the change from x̂(z, source) to what is
    predicted for the target, as nothing else takes its place. The noise in maps of stochastic samplers
    (:class:`rnri_core.inversion.edit_friendly.EditFriendly`) stays whole.

    The mask w, min(1, 4e) of the way from itself to itself blurred by ``blur``, is applied at each of the K steps, as
    z ← z_source + w^(4/K)·(z − z_source): blending adds up, and without the power a soft edge would be a hard one,
    further in, after many steps.
    """

    source = publications.DIFFEDIT
    passage = "Section 3.2, at the edit's own first step"
    neutral: ClassVar = {"threshold": 0.0, "attenuation": 0.0}

    threshold: float = option(
        0.2, "the share of the largest difference that counts as one, error or not", low=0.0, high=1.0
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

    def bind(self, job: Job) -> Bound:
        return _Held(job, self)


class _Held(Bound):
    """Remembers the mask (P, 1, h, w) of the first step, 1 where the picture changes.

    Of the step at hand it knows what the source's prediction left ``unsaid``, and the ``change`` to the target's.
    """

    def __init__(self, job: Job, control: AutomaticMask) -> None:
        super().__init__(job)
        self.control = control
        self.changes: Tensor | None = None

    def observe(self, z: Tensor, plain: Tensor, prediction: Tensor) -> None:
        source, step = self.job.source, self.job.source.schedule[self.k]
        guided = is_guided(self.job.model, source.guidance)
        said = prediction if guided else plain  # like with like: the source's as it was inverted
        seen = self.seen(z)
        self.unsaid = source.clean.to(z) - seen
        self.change = step.x0_from_step(z, step.step(z, said)) - seen
        if self.changes is None:
            self.changes = self.masked()

    def seen(self, like: Tensor) -> Tensor:
        """x̂(z, source) at the inversion's latents of this step, without asking the network."""
        source, k = self.job.source, self.k
        reached = source.latents[k + 1].to(like)
        if source.noise_maps is not None:
            reached = reached - source.noise_maps[k].to(like)
        return source.schedule[k].x0_from_step(source.latents[k].to(like), reached)

    def masked(self) -> Tensor:
        control, heat = self.control, self.change.abs().mean(1, keepdim=True)
        error = self.unsaid.abs().mean((1, 2, 3), keepdim=True)
        mask = torch.ones_like(heat)
        if control.threshold:
            share = control.threshold * heat.amax((2, 3), keepdim=True)
            least = torch.minimum(share, error).clamp_min(FLOOR)
            mask = ((heat / least - 1) / RAMP + 0.5).clamp(0, 1)
        grown = functional.max_pool2d(mask, 2 * control.dilate + 1, 1, control.dilate)
        return torch.lerp(grown, blurred(grown, control.blur), (error / UNSURE).clamp(max=1))

    def correct(self, delta: Tensor) -> Tensor:
        assert self.changes is not None
        most = self.change.abs()
        let_go = (self.control.attenuation * self.unsaid).clamp(-most, most)
        return delta - self.changes * self.job.source.schedule[self.k].weight * let_go

    def blend(self, k: int, z: Tensor) -> Tensor:
        assert self.changes is not None
        source = self.job.source
        return torch.lerp(source.latents[k + 1].to(z), z, self.changes ** (STEPS / len(source.schedule)))
