"""FlowEdit: a path straight from the source to the target, between two flows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from rnri_core import publications
from rnri_core.registry import option
from rnri_core.sampling.strength import strength_steps
from torch import Tensor

from rnri.baselines.canvas import STRENGTH, Canvas, Rival
from rnri.baselines.flow import sigmas, velocity


@dataclass(frozen=True)
class FlowEdit(Rival):
    """Follow the difference of two velocities: dz = (v(z + x_σ − x₀, target) − v(x_σ, source)) dσ.

    x_σ is the source at a step's noise level, noised anew each time and averaged over ``draws``. It begins after the
    noisiest steps, and the last ones may be ordinary sampling. The source prompt gives the picture back to rounding
    error. The published settings are, on Stable Diffusion 3, the last 33 of 50 steps
    (``flowedit:steps=50,strength=0.66,source_guidance=3.5,guidance=13.5``); on FLUX.1 dev, the last 24 of 28
    (``flowedit:steps=28,strength=0.86,source_guidance=1.5,guidance=5.5``).
    """

    source = publications.FLOWEDIT
    passage = "Algorithm 1"

    strength: float = option(0.86, f"{STRENGTH}, n_max", low=0.01, high=1.0)
    sampled: float = option(0.0, "the part at the end that is ordinary sampling, n_min", low=0.0, high=1.0)
    draws: int = option(1, "noises averaged in each step, n_avg", low=1, high=64)
    source_guidance: float | None = option(
        None, "guidance of the source's velocity; none if not given", low=0.0, high=100.0
    )

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        levels = sigmas(canvas, "flowedit")
        count = len(levels) - 1
        first = count - strength_steps(self.strength, count)
        last = max(first, count - strength_steps(self.sampled, count, least=0))
        theirs = velocity(canvas, [canvas.source], self.source_guidance)
        ours = velocity(canvas, canvas.targets, guidance)
        edited, x = canvas.spread(canvas.clean), canvas.clean
        for k in range(first, last):
            change = torch.zeros_like(edited)
            for _ in range(self.draws):
                noisy = (1 - levels[k]) * x + levels[k] * canvas.noise()
                change = change + ours(edited + noisy - x, levels[k]) - theirs(noisy, levels[k])
            edited = edited + (levels[k + 1] - levels[k]) * change / self.draws
        if last < count:
            edited = edited - levels[last] * x + levels[last] * canvas.noise()
            for k in range(last, count):
                edited = edited + (levels[k + 1] - levels[k]) * ours(edited, levels[k])
        return edited
