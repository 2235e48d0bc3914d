"""BDIA: a sampler that remembers the latents it comes from, and so can be undone."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core import publications
from rnri_core.inversion.coupled import Bdia
from rnri_core.registry import option
from torch import Tensor

from rnri.baselines.canvas import Canvas, Rival
from rnri.baselines.edict import draw


@dataclass(frozen=True)
class BdiaBaseline(Rival):
    """Invert the sampler with memory by algebra, one evaluation per step, and run it again with other words.

    The source prompt gives the picture back to rounding error, for samplers that add no noise. The pair at the noisy
    end is two neighbouring latents, so edits begin at the second step. The published setting has γ = 0.5, 50 steps in
    64-bit numbers, guidance 3 both ways and leaves out the noisiest fifth.
    """

    source = publications.BDIA
    passage = "BDIA-DDIM, the update from two latents and its inverse"

    weight: float = option(1.0, "γ, the share of the last step that is taken back", low=0.01, high=1.0)
    source_guidance: float | None = option(None, "guidance of the inversion; none if not given", low=0.0, high=100.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        return draw(Bdia(self.weight), canvas, source_guidance=self.source_guidance, guidance=guidance)
