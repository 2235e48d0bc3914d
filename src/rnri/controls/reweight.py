"""More or less of one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from rnri_core import publications
from rnri_core.errors import RnriError
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.alignment import align, handed
from rnri.controls.base import Bound, Control, Job
from rnri.models.attention_hooks import Place


@dataclass(frozen=True)
class Reweight(Control):
    """Multiply the attention that a word of the target prompt gets: above 1 strengthens it, below 1 weakens it.

    In a first share of the steps words that both prompts have get the attention they had in the source, as
    ``prompt-to-prompt`` has it, and the word that is weighed ``weight`` times as much; weights are not normalised
    afterwards. Later all attention is the target's own.
    """

    source = publications.PROMPT_TO_PROMPT
    passage = "Section 3.2, attention re-weighting, and the published code"
    neutral: ClassVar = {"cross": 0.0}
    attends: ClassVar = True
    beside: ClassVar = True

    word: str = option("", "the word, as it stands in the target prompt")
    weight: float = option(2.0, "what its attention is multiplied by", low=-10.0, high=10.0)
    cross: float = option(
        0.8, "share of the steps in which it acts, on the source's cross attention", low=0.0, high=1.0
    )

    def bind(self, job: Job) -> Bound:
        return _Weighing(job, self)


class _Weighing(Bound):
    def __init__(self, job: Job, control: Reweight) -> None:
        super().__init__(job)
        self.control = control
        source, factors, mappings = job.words(job.source.prompt), torch.ones(len(job.prompts), job.length), []
        for n, prompt in enumerate(job.prompts):
            words = job.words(prompt)
            named = [position for word, positions in words if word == control.word.lower() for position in positions]
            if not named:
                has = ", ".join(dict.fromkeys(word for word, _ in words if word.isalnum()))
                raise RnriError(f"the prompt has no word {control.word!r} to weigh", hint=f"give one of {has}")
            factors[n, named] = control.weight
            mappings.append(align(source, words, job.length, replace=False).mapping)
        self.factors, self.mapping = factors, torch.stack(mappings)

    def weighs(self, place: Place, cells: int) -> bool:
        return place.cross and not self.job.reached(self.k, self.control.cross)

    def weigh(self, place: Place, weights: Tensor) -> Tensor:
        """The source's attention; what another control handed over to new words stays."""
        weights = weights.clone()
        weights[self.job.targets] = handed(weights[:1], weights[self.job.targets], self.mapping)
        return weights

    def rescale(self, place: Place, weights: Tensor) -> Tensor:
        weights = weights.clone()
        weights[self.job.targets] *= self.factors.to(weights)[:, None, None]
        return weights
