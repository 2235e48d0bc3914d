"""The source's attention in the edit: cross attention for words, self attention for layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rnri.attention import Place
from rnri.controls import sources
from rnri.controls.alignment import align
from rnri.controls.base import Bound, Control, Job
from rnri.registry import option


@dataclass(frozen=True)
class PromptToPrompt(Control):
    """Give words that both prompts have the attention they had in the source, and the layout its self attention.

    ``refine`` leaves changed words their own attention; ``replace`` hands them that of the word they replace, so that a
    new thing takes the place of the old. Words are matched in order of the two prompts.
    """

    source = sources.PROMPT_TO_PROMPT
    passage = "Section 3.2, word swap and adding a phrase"
    neutral: ClassVar = {"cross": 0.0, "layout": 0.0}
    attends: ClassVar = True
    beside: ClassVar = True

    mode: Literal["refine", "replace"] = option("refine", "what changed words look at")
    cross: float = option(0.8, "share of the steps whose cross attention is the source's", low=0.0, high=1.0)
    layout: float = option(0.4, "share of the steps whose self attention is the source's", low=0.0, high=1.0)
    cells: int = option(256, "self attention is copied where the grid has at most this many cells", low=0, high=16384)

    def bind(self, job: Job) -> Bound:
        return _Copying(job, self)


class _Copying(Bound):
    def __init__(self, job: Job, control: PromptToPrompt) -> None:
        super().__init__(job)
        self.control = control
        replace = control.mode == "replace"
        source = job.words(job.source.prompt)
        found = [align(source, job.words(prompt), job.length, replace=replace).mapping for prompt in job.prompts]
        self.mapping = torch.stack(found)

    def weighs(self, place: Place, cells: int) -> bool:
        if place.cross:
            return not self.job.reached(self.k, self.control.cross)
        return cells <= self.control.cells and not self.job.reached(self.k, self.control.layout)

    def weigh(self, place: Place, weights: Tensor) -> Tensor:
        theirs, ours = weights[:1], weights[self.job.targets]
        if place.cross:
            mapping = self.mapping.to(weights)[:, None]
            own = 1 - mapping.sum(2, keepdim=True)  # of tokens that stand for nothing in the source
            changed = theirs @ mapping + ours * own
        else:
            changed = theirs.expand_as(ours)
        weights = weights.clone()
        weights[self.job.targets] = changed
        return weights
