"""The source's textures in the edit's new pose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import Bound, Control, Job
from rnri.models.attention_hooks import Place


@dataclass(frozen=True)
class MasaCtrl(Control):
    """Let the edit's self attention look at the source's keys and values: it queries contents instead of making them.

    From a step on, when the layout stands, and from a layer on. For changes of pose, number and place. Predictions for
    the prompts take them from the source told its own prompt, those for the negative prompt from the source told that.
    """

    source = publications.MASACTRL
    passage = "Algorithm 1"
    neutral: ClassVar = {"start": 1.0}
    attends: ClassVar = True
    beside: ClassVar = True
    unguided: ClassVar = True

    start: float = option(0.08, "share of the steps after which it begins, 1 for never", low=0.0, high=1.0)
    layers: float = option(0.6, "share of the layers after which it begins", low=0.0, high=1.0)

    def bind(self, job: Job) -> Bound:
        return _Looking(job, self)


class _Looking(Bound):
    def __init__(self, job: Job, control: MasaCtrl) -> None:
        super().__init__(job)
        self.control = control
        if not any(map(self.mutual, job.layers())):
            raise job.missing(f"self attention after layers={control.layers:g}", "give a smaller share of the layers")

    def mutual(self, place: Place) -> bool:
        return not place.cross and place.index >= self.control.layers * place.count

    def project(self, place: Place, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.mutual(place) or not self.job.reached(self.k, self.control.start):
            return q, k, v
        rows = torch.zeros(len(k), dtype=torch.long, device=k.device)
        if self.job.unguided is not None:
            rows[self.job.unguided] = self.job.unguided.start
        return q, k[rows], v[rows]
