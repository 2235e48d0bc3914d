"""EDICT and BDIA: samplers on pairs of latents, inverted by algebra and run again with the target prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from rnri_core.inversion.coupled import Bdia, Coupled, Edict
from rnri_core.registry import option
from torch import Tensor

from rnri.baselines.canvas import Canvas, Rival


@dataclass(frozen=True)
class CoupledBaseline(Rival):
    """Base of the methods that are a coupled sampler, with settings of the edit beside the sampler's own."""

    source_guidance: float | None = option(None, "guidance of the inversion; none if not given", low=0.0, high=100.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        sampler = cast(Coupled, self)
        inversion = sampler.invert(canvas.network([canvas.source], self.source_guidance), canvas.schedule, canvas.clean)
        pair = canvas.spread(inversion.pair[0]), canvas.spread(inversion.pair[1])
        return sampler.sample(canvas.network(canvas.targets, guidance), canvas.schedule, pair)


@dataclass(frozen=True)
class EdictBaseline(CoupledBaseline, Edict):
    """Invert EDICT's coupled sampler, two evaluations per step, and run it again with the target prompt.

    The source prompt reconstructs the picture to rounding error. The published setting has 50 steps, guidance 3 both
    ways and leaves out the noisiest fifth.
    """


@dataclass(frozen=True)
class BdiaBaseline(CoupledBaseline, Bdia):
    """Invert BDIA's sampler with memory, one evaluation per step, and run it again with the target prompt.

    The source prompt reconstructs the picture to rounding error, for samplers that add no noise. The pair at the noisy
    end is two neighbouring latents, so edits begin at the second step. The published setting has γ = 0.5, 50 steps in
    64-bit numbers, guidance 3 both ways and leaves out the noisiest fifth.
    """
