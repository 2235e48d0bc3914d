"""InfEdit: virtual inversion, in which the source's own latents are noised anew at every step."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core import publications
from rnri_core.registry import option
from rnri_core.sampling.steps import add_noise
from torch import Tensor

from rnri.baselines.canvas import STRENGTH, Canvas, Rival


@dataclass(frozen=True)
class InfEdit(Rival):
    """Virtual inversion: both pictures get the same noise, and the target keeps what the source's prediction misses.

    With x the source and y the target at a step's noise level, y₀ ← x₀ + x̂(y, target) − x̂(x, source): the paper's
    update of the consistent noise, written through the denoised images. The source prompt gives the picture back to
    rounding error. Made for consistency models, it works with any; attention control is not part of it here.
    """

    source = publications.INFEDIT
    passage = "virtual inversion"

    strength: float = option(1.0, STRENGTH, low=0.01, high=1.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        steps = canvas.part(self.strength)
        end = steps[-1].levels[2:]
        theirs, ours = canvas.network([canvas.source]), canvas.network(canvas.targets, guidance)
        edited = canvas.spread(canvas.clean)
        for step in steps:
            noise = canvas.noise()
            x, y = (add_noise(z, end, step.levels[:2], noise) for z in (canvas.clean, edited))
            edited = canvas.clean + step.predict_x0(ours, y) - step.predict_x0(theirs, x)
        return edited
