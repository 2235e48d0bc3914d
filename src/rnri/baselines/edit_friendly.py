"""Edit-friendly DDPM inversion: noise maps with which a stochastic sampler reconstructs the picture."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core import publications
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.inversion.inversion import sample
from rnri_core.registry import option
from torch import Tensor

from rnri.baselines.canvas import STRENGTH, Canvas, Rival


@dataclass(frozen=True)
class EditFriendlyBaseline(Rival):
    """Edit-friendly DDPM inversion: independent latents for each step, and the maps that lead from one to the next.

    The source prompt reconstructs the picture to rounding error: the map of the last step is kept, which the published
    code sets to zero. The published setting leaves out the first 36 of 100 steps, and has guidance 3.5 and 15 on Stable
    Diffusion.
    """

    source = publications.EDIT_FRIENDLY
    passage = "Algorithm 1"

    strength: float = option(0.75, STRENGTH, low=0.01, high=1.0)
    source_guidance: float | None = option(
        None, "guidance when the maps are made; none if not given", low=0.0, high=100.0
    )

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        network = canvas.network([canvas.source], self.source_guidance)
        seed = canvas.generator.initial_seed()
        source = EditFriendly().invert(network, canvas.part(self.strength), canvas.clean, seed=seed)
        m = canvas.network(canvas.targets, guidance)
        return sample(m, source.schedule, canvas.spread(source.noise), noise_maps=source.noise_maps)
