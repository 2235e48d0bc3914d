"""Between what the source and the target prompt mean to the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option

from rnri.controls.base import Bound, Control, Job
from rnri.controls.conditions import between
from rnri.models.base import Condition


@dataclass(frozen=True)
class Embedding(Control):
    """Tell the network something between the two prompts: e = e_source + strength·(e_target − e_source).

    Above 1 it is led past the target.
    """

    source = publications.IMAGIC
    passage = "Eq. 3"
    neutral: ClassVar = {"strength": 1.0}

    strength: float = option(0.7, "0 is the source prompt, 1 the target, more goes past it", low=0.0, high=3.0)

    def bind(self, job: Job) -> Bound:
        return _Between(job, self.strength)


class _Between(Bound):
    def __init__(self, job: Job, strength: float) -> None:
        super().__init__(job)
        self.strength = strength

    def condition(self, target: Condition) -> Condition:
        return between(self.job.model.embed([self.job.source.prompt]), target, self.strength)
