"""The source's decoder features in the edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import Bound, Control, Job
from rnri.models.attention_hooks import INNER, Place


@dataclass(frozen=True)
class PlugAndPlay(Control):
    """Inject the source's features and self attention into the decoder, so that the layout stays whatever the words.

    Features are those of the second residual block of the decoder where the latents are halved twice, 16² cells of 64²;
    attention is injected as queries and keys from the transformer behind that block on. Each is in a first share of the
    steps. For changes of style and material.
    """

    source = publications.PLUG_AND_PLAY
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
        if control.attention and not any(map(self.injected, job.layers())):
            raise job.missing("self attention in the decoder", "set attention=0")

    def injected(self, place: Place) -> bool:
        behind = place.level < INNER or (place.level == INNER and place.transformer > 0)
        return place.part == "up" and not place.cross and behind

    def project(self, place: Place, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.injected(place) or self.job.reached(self.k, self.control.attention):
            return q, k, v
        return q[:1].expand_as(q), k[:1].expand_as(k), v

    def feature(self, hidden: Tensor) -> Tensor:
        return hidden if self.job.reached(self.k, self.control.features) else hidden[:1].expand_as(hidden)
