"""Attention re-weighting: more or less of one word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from rnri_core import publications
from rnri_core.errors import RnriError
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import EditContext, ModelControl
from rnri.controls.prompt_to_prompt import SourceAttention
from rnri.models.attention_hooks import AttentionLayer


@dataclass(frozen=True)
class Reweight(ModelControl):
    """Multiply the attention that a word of the target prompt gets: above 1 strengthens it, below 1 weakens it.

    In a first share of the steps words that both prompts have get the attention they had in the source, as
    ``prompt-to-prompt`` has it, and ``word`` gets ``weight`` times as much; probabilities are not normalised
    afterwards. Later all attention is the target's own.
    """

    source = publications.PROMPT_TO_PROMPT
    passage = "Section 3.2, attention re-weighting, and the published code"
    neutral: ClassVar = {"cross": 0.0}
    needs_source: ClassVar = True

    word: str = option("", "the word, as it stands in the target prompt")
    weight: float = option(2.0, "factor of its attention", low=-10.0, high=10.0)
    cross: float = option(
        0.8, "share of the steps in which it acts, on the source's cross attention", low=0.0, high=1.0
    )

    def state(self, context: EditContext) -> _Reweight:
        return _Reweight(context, self)


class _Reweight(SourceAttention):
    def __init__(self, context: EditContext, control: Reweight) -> None:
        super().__init__(context, control.cross, replace=False)
        self.factors = torch.ones(context.count, context.length)
        for n, prompt in enumerate(context.prompts):
            words = context.spans(prompt)
            positions = [at for word, span in words if word == control.word.lower() for at in span]
            if not positions:
                has = ", ".join(dict.fromkeys(word for word, _ in words if word.isalnum()))
                raise RnriError(f"the prompt has no word {control.word!r} to weight", hint=f"give one of {has}")
            self.factors[n, positions] = control.weight

    def rescale(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> Tensor:
        probabilities = probabilities.clone()
        probabilities[self.context.targets] *= self.factors.to(probabilities)[:, None, None]
        return probabilities
