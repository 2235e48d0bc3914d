"""The source's attention in the edit: cross attention for words, self attention for layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.alignment import align, handed
from rnri.controls.base import Bound, Control, Job
from rnri.models.attention_hooks import Place


@dataclass(frozen=True)
class PromptToPrompt(Control):
    """Give words that both prompts have the attention they had in the source, and the layout its self attention.

    ``refine`` leaves changed words their own attention; ``replace`` hands them that of the word they replace, so that a
    new thing takes the place of the old. Words are matched in order of the two prompts. Cross attention is handed over
    at all layers, self attention from ``level`` halvings of the latents on: 32² of 64² cells and fewer at 1.
    """

    source = publications.PROMPT_TO_PROMPT
    passage = "Section 3.2, word swap and adding a phrase"
    neutral: ClassVar = {"cross": 0.0, "layout": 0.0}
    attends: ClassVar = True
    beside: ClassVar = True

    mode: Literal["refine", "replace"] = option("refine", "what changed words look at")
    cross: float = option(0.8, "share of the steps whose cross attention is the source's", low=0.0, high=1.0)
    layout: float = option(0.4, "share of the steps whose self attention is the source's", low=0.0, high=1.0)
    level: int = option(1, "self attention is copied where latents are halved this many times or more", low=0, high=16)

    def bind(self, job: Job) -> Bound:
        return _Copying(job, self)


class _Copying(Bound):
    def __init__(self, job: Job, control: PromptToPrompt) -> None:
        super().__init__(job)
        self.control = control
        if control.layout and not any(map(self.laid_out, job.layers())):
            raise job.missing(f"self attention at level {control.level} or deeper", "set a smaller level, or layout=0")
        replace = control.mode == "replace"
        source = job.words(job.source.prompt)
        found = [align(source, job.words(prompt), job.length, replace=replace).mapping for prompt in job.prompts]
        self.mapping = torch.stack(found)

    def laid_out(self, place: Place) -> bool:
        return not place.cross and place.level >= self.control.level

    def project(self, place: Place, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.laid_out(place) or self.job.reached(self.k, self.control.layout):
            return q, k, v
        q, k = q.clone(), k.clone()  # queries and keys of the source have its weights, which need not be held in memory
        q[self.job.targets], k[self.job.targets] = q[:1], k[:1]
        return q, k, v

    def weighs(self, place: Place, cells: int) -> bool:
        return place.cross and not self.job.reached(self.k, self.control.cross)

    def weigh(self, place: Place, weights: Tensor) -> Tensor:
        weights = weights.clone()
        weights[self.job.targets] = handed(weights[:1], weights[self.job.targets], self.mapping)
        return weights
