"""TurboEdit (Deutch et al.): edit-friendly noise maps for few-step models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from rnri_core import publications
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.inversion.inversion import sample
from rnri_core.registry import option
from torch import Tensor

from rnri.baselines.canvas import Canvas, Rival


@dataclass(frozen=True)
class TurboEdit(Rival):
    """Deutch et al.'s: noise maps of latents that are noised less than their steps expect, and pseudo-guidance.

    m = m_target + (weight − 1)·(m_target − m_source), both at the edit's latents: the change of prompt is amplified,
    the trajectory is not. The source prompt reconstructs the picture to rounding error. The clipping
    of the last noise map by its norm, which is tuned to SDXL-Turbo, is left out. Classifier-free guidance is not used.
    The published setting samples the last 4 of 5 steps.
    """

    source = publications.TURBOEDIT
    passage = "Section 4, shifted noise schedule and pseudo-guidance"

    shift: int = option(1, "how many steps later the noise is that latents get", low=0)
    weight: float = option(1.5, "how much the change of prompt is amplified, 1 for not at all", low=0.0, high=100.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        seed, count = canvas.generator.initial_seed(), len(canvas.targets)
        network = canvas.network([canvas.source])
        inversion = EditFriendly(self.shift).invert(network, canvas.schedule, canvas.clean, seed=seed)
        both = canvas.network(canvas.targets + [canvas.source] * count)

        def m(z: Tensor, t: float) -> Tensor:
            target, source = both(torch.cat([z, z]), t).chunk(2)
            return target + (self.weight - 1) * (target - source)

        return sample(m, inversion.schedule, canvas.spread(inversion.noise), noise_maps=inversion.noise_maps)
