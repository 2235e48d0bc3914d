"""How much of what the inversion missed is given back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.errors import RnriError
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import Bound, Control, Job


@dataclass(frozen=True)
class Residual(Control):
    """Add this share of the corrections that the inversion kept: z_clean = denoise(z) + factor·δ.

    At 1 the source prompt draws the picture exactly; below, edits are freer. Needs an inversion with corrections.
    """

    source = publications.DIRECT_INVERSION
    passage = "Algorithm 1, for the edited branch and in part"
    neutral: ClassVar = {"factor": 1.0}

    factor: float = option(0.5, "0 leaves the corrections out, 1 adds them whole", low=0.0, high=2.0)

    def bind(self, job: Job) -> Bound:
        if job.source.noise_maps is None:
            raise RnriError("the inversion kept no corrections to add", hint="invert with residual correction")
        return _Shared(job, self.factor)


class _Shared(Bound):
    def __init__(self, job: Job, factor: float) -> None:
        super().__init__(job)
        self.factor = factor

    def correct(self, delta: Tensor) -> Tensor:
        return self.factor * delta
