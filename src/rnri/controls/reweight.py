"""More or less of one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnri.attention import Place
from rnri.controls import sources
from rnri.controls.base import Bound, Control, Job
from rnri.registry import option


@dataclass(frozen=True)
class Reweight(Control):
    """Multiply the attention that a word of the target prompt gets: above 1 strengthens it, below 1 weakens it."""

    source = sources.PROMPT_TO_PROMPT
    passage = "Section 3.2, attention re-weighting"
    neutral: ClassVar = {"weight": 1.0}
    attends: ClassVar = True

    word: str = option("", "the word, as it stands in the target prompt")
    weight: float = option(2.0, "what its attention is multiplied by", low=-10.0, high=10.0)

    def bind(self, job: Job) -> Bound:
        factors = torch.ones(len(job.prompts), job.length)
        for n, prompt in enumerate(job.prompts):
            words = job.words(prompt)
            named = [position for word, positions in words if word == self.word.lower() for position in positions]
            if not named:
                has = ", ".join(dict.fromkeys(word for word, _ in words if word.isalnum()))
                raise ValueError(f"the prompt has no word {self.word!r} to weigh: give one of {has}")
            factors[n, named] = self.weight
        return _Weighing(job, factors)


class _Weighing(Bound):
    def __init__(self, job: Job, factors: Tensor) -> None:
        super().__init__(job)
        self.factors = factors

    def weighs(self, place: Place, cells: int) -> bool:
        return place.cross

    def weigh(self, place: Place, weights: Tensor) -> Tensor:
        weights = weights.clone()
        weights[self.job.targets] *= self.factors.to(weights)[:, None, None]
        return weights
