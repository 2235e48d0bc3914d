"""The source's textures in the edit's new pose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri.attention import Place
from rnri.controls import sources
from rnri.controls.base import Bound, Control, Job
from rnri.registry import option


@dataclass(frozen=True)
class MasaCtrl(Control):
    """Let the edit's self attention look at the source's keys and values: it queries contents instead of making them.

    From a step on, when the layout stands, and from a layer on. For changes of pose, number and place.
    """

    source = sources.MASACTRL
    passage = "Algorithm 1"
    neutral: ClassVar = {"start": 1.0}
    attends: ClassVar = True
    beside: ClassVar = True

    start: float = option(0.1, "share of the steps after which it begins, 1 for never", low=0.0, high=1.0)
    layers: float = option(0.6, "share of the layers after which it begins", low=0.0, high=1.0)

    def bind(self, job: Job) -> Bound:
        return _Looking(job, self)


class _Looking(Bound):
    def __init__(self, job: Job, control: MasaCtrl) -> None:
        super().__init__(job)
        self.control = control

    def project(self, place: Place, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        begun = self.job.reached(self.k, self.control.start) and place.index >= self.control.layers * place.count
        return (q, k[:1].expand_as(k), v[:1].expand_as(v)) if begun and not place.cross else (q, k, v)
