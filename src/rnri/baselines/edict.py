"""EDICT: the picture as a pair of latents, each moved by what the network says of the other."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core import publications
from rnri_core.inversion.coupled import Coupled, Edict
from rnri_core.registry import option
from torch import Tensor

from rnri.baselines.canvas import Canvas, Rival


@dataclass(frozen=True)
class EdictBaseline(Rival):
    """Invert the coupled sampler by algebra, two evaluations per step, and run it again with other words.

    The source prompt gives the picture back to rounding error. The published setting has 50 steps, guidance 3 both
    ways and leaves out the noisiest fifth.
    """

    source = publications.EDICT
    passage = "the coupled transformations and their mixing layers"

    mixing: float = option(0.93, "p, how much of itself each latent keeps when the two are mixed", low=0.5, high=1.0)
    source_guidance: float | None = option(None, "guidance of the inversion; none if not given", low=0.0, high=100.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        return draw(Edict(self.mixing), canvas, source_guidance=self.source_guidance, guidance=guidance)


def draw(sampler: Coupled, canvas: Canvas, *, source_guidance: float | None, guidance: float) -> Tensor:
    """The latents of the edits by a coupled sampler, one for each target."""
    found = sampler.invert(canvas.network([canvas.source], source_guidance), canvas.schedule, canvas.clean)
    pair = canvas.spread(found.pair[0]), canvas.spread(found.pair[1])
    return sampler.sample(canvas.network(canvas.targets, guidance), canvas.schedule, pair)
