"""Prompt-to-Prompt: the source's cross attention for words in common, and its self attention for the layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.alignment import align, transferred
from rnri.controls.base import AttentionState, EditContext, ModelControl, missing
from rnri.models.attention_hooks import AttentionLayer, Projections


@dataclass(frozen=True)
class PromptToPrompt(ModelControl):
    """Give words that both prompts have the attention they had in the source, and the layout its self attention.

    ``refine`` leaves changed words their own attention; ``replace`` gives them that of the word they replace, so that a
    new object takes the place of the old. Words are matched in order of the two prompts. Cross attention is transferred
    at all layers, self attention from ``level`` halvings of the latents on: 32² of 64² cells and fewer at 1.
    """

    source = publications.PROMPT_TO_PROMPT
    passage = "Section 3.2, word swap and adding a phrase"
    neutral: ClassVar = {"cross": 0.0, "layout": 0.0}
    needs_source: ClassVar = True

    mode: Literal["refine", "replace"] = option("refine", "the cross attention of changed words")
    cross: float = option(0.8, "share of the steps whose cross attention is the source's", low=0.0, high=1.0)
    layout: float = option(0.4, "share of the steps whose self attention is the source's", low=0.0, high=1.0)
    level: int = option(1, "self attention is copied where latents are halved this many times or more", low=0, high=16)

    def state(self, context: EditContext) -> _PromptToPrompt:
        return _PromptToPrompt(context, self)


class SourceAttention(AttentionState):
    """Transfers the source's cross attention to words in common, in a first share ``cross`` of the steps."""

    def __init__(self, context: EditContext, cross: float, *, replace: bool) -> None:
        super().__init__(context)
        self.cross = cross
        words = context.spans(context.source.prompt)
        alignments = [
            align(words, context.spans(prompt), context.length, replace=replace) for prompt in context.prompts
        ]
        self.mapping = torch.stack([alignment.mapping for alignment in alignments])

    def needs_probabilities(self, step: int, layer: AttentionLayer) -> bool:
        return layer.cross and not self.context.beyond(step, self.cross)

    def probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> Tensor:
        """The source's probabilities; those that another control gave to new words stay."""
        targets, probabilities = self.context.targets, probabilities.clone()
        probabilities[targets] = transferred(probabilities[:1], probabilities[targets], self.mapping)
        return probabilities


class _PromptToPrompt(SourceAttention):
    def __init__(self, context: EditContext, control: PromptToPrompt) -> None:
        self.control = control
        if control.layout and not any(map(self._copies, context.layers())):
            layers = f"self attention at level {control.level} or deeper"
            raise missing(context.model, context.source, layers, "set a smaller level, or layout=0")
        super().__init__(context, control.cross, replace=control.mode == "replace")

    def _copies(self, layer: AttentionLayer) -> bool:
        return not layer.cross and layer.level >= self.control.level

    def project(self, step: int, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> Projections:
        if not self._copies(layer) or self.context.beyond(step, self.control.layout):
            return q, k, v
        q, k = q.clone(), k.clone()  # of the source, which give its probabilities without holding them in memory
        q[self.context.targets], k[self.context.targets] = q[:1], k[:1]
        return q, k, v
