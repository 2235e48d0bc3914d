"""The source's decoder features in the edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri.attention import Place
from rnri.controls import sources
from rnri.controls.base import Bound, Control, Job
from rnri.registry import option


@dataclass(frozen=True)
class PlugAndPlay(Control):
    """Inject the source's features and self attention into the decoder, so that the layout stays whatever the words.

    Features are those of the decoder's fourth residual block, attention is injected as queries and keys after the first
    layer, each in a first share of the steps. For changes of style and material.
    """

    source = sources.PLUG_AND_PLAY
    passage = "Algorithm 1"
    neutral: ClassVar = {"features": 0.0, "attention": 0.0}
    attends: ClassVar = True
    beside: ClassVar = True

    features: float = option(0.8, "share of the steps whose features are the source's", low=0.0, high=1.0)
    attention: float = option(0.5, "share of the steps whose self attention is the source's", low=0.0, high=1.0)

    def bind(self, job: Job) -> Bound:
        return _Injecting(job, self)


class _Injecting(Bound):
    def __init__(self, job: Job, control: PlugAndPlay) -> None:
        super().__init__(job)
        self.control = control
        self.skipped: int | None = None

    def project(self, place: Place, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if place.cross or place.part != "up" or self.job.reached(self.k, self.control.attention):
            return q, k, v
        if self.skipped is None:
            self.skipped = place.index  # the decoder's first layer, which the method leaves alone
        return (q, k, v) if place.index == self.skipped else (q[:1].expand_as(q), k[:1].expand_as(k), v)

    def feature(self, hidden: Tensor) -> Tensor:
        return hidden if self.job.reached(self.k, self.control.features) else hidden[:1].expand_as(hidden)
