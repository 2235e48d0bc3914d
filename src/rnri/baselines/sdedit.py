"""SDEdit: noise the picture to part of the steps, and sample these with the target prompt."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core import publications
from rnri_core.inversion.inversion import sample
from rnri_core.registry import option
from rnri_core.sampling.steps import add_noise
from torch import Tensor

from rnri.baselines.canvas import STRENGTH, Canvas, Rival


@dataclass(frozen=True)
class SDEdit(Rival):
    """Add noise to the picture as to the last ⌊steps·strength⌋ steps, and take these steps with the target prompt.

    At strength 0 the picture stays, at 1 only the prompt is left of it. It needs no source prompt.
    """

    source = publications.SDEDIT
    passage = "Algorithm 1"

    strength: float = option(0.75, STRENGTH, low=0.0, high=1.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        steps = canvas.part(self.strength, least=0)
        if not steps:
            return canvas.spread(canvas.clean)
        noisy = add_noise(canvas.clean, steps[-1].levels[2:], steps[0].levels[:2], canvas.noise())
        return sample(canvas.network(canvas.targets, guidance), steps, canvas.spread(noisy))
