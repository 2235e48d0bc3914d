"""How far back along the inversion an edit begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import Bound, Control, Job


@dataclass(frozen=True)
class StartStep(Control):
    """Begin the edit part of the way back instead of at the noise: from 0, the source unchanged, to 1, all the way.

    The first (1 − strength)·K of K steps are the inversion's own. Where that falls within a step, its end is mixed
    from the source's latents and the edit's in proportion, so that the strength is a continuous slider.
    """

    source = publications.SDEDIT
    passage = "Section 3, the realism-faithfulness trade-off, from inverted latents"
    neutral: ClassVar = {"strength": 1.0}

    strength: float = option(0.7, "0 is the source, 1 the whole edit", low=0.0, high=1.0)

    def bind(self, job: Job) -> Bound:
        return _Partly(job, (1 - self.strength) * job.steps)


class _Partly(Bound):
    def __init__(self, job: Job, skipped: float) -> None:
        super().__init__(job)
        self.first = int(skipped + 1e-9)
        self.rest = max(skipped - self.first, 0.0)

    def blend(self, k: int, z: Tensor) -> Tensor:
        return z.lerp(self.job.source.latents[k + 1].to(z), self.rest) if k == self.first else z
