"""Local blend: the image changes only where cross attention to the changed words is high."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.controls.base import Prediction
from rnri_core.controls.masks import blurred, dilated, kept_outside
from rnri_core.registry import option
from torch import Tensor
from torch.nn import functional

from rnri.controls.base import AttentionState, EditContext, ModelControl
from rnri.controls.word_maps import WordMaps
from rnri.models.attention_hooks import INNER, AttentionLayer


@dataclass(frozen=True)
class LocalBlend(ModelControl):
    """Change the image only where cross attention to the words that differ is high: Prompt-to-Prompt's local blend.

    Cross attention is averaged over heads, layers and the steps so far: that of the edit to the target's new words, and
    that of the source to its removed words. The mask is where either is high, M = [A > threshold·max A], dilated by
    cells of the layers' grid and stretched to the latents. It is read at the layers of one level, the latents halved
    twice: 16² cells of 64².
    """

    source = publications.PROMPT_TO_PROMPT
    passage = "Section 4, local editing, and the published code"
    neutral: ClassVar = {"threshold": 0.0}
    needs_source: ClassVar = True

    threshold: float = option(0.3, "share of the largest attention above which a cell may change", low=0.0, high=1.0)
    level: int = option(INNER, "attention is read where latents are halved this many times", low=0, high=16)
    start: float = option(0.2, "share of the steps before latents are blended; the image is always", low=0.0, high=1.0)
    dilate: int = option(1, "cells of that grid by which the mask is dilated", low=0, high=16)
    blur: float = option(
        0.0, "standard deviation of the Gaussian on its edges, in cells of the latents", low=0.0, high=16.0
    )

    def state(self, context: EditContext) -> _LocalBlend:
        return _LocalBlend(context, self)


class _LocalBlend(AttentionState):
    def __init__(self, context: EditContext, control: LocalBlend) -> None:
        super().__init__(context)
        self.control = control
        self.maps = WordMaps(
            context.model,
            context.source,
            context.prompts,
            control.level,
            length=context.length,
            targets=context.targets,
        )

    def needs_probabilities(self, step: int, layer: AttentionLayer) -> bool:
        return self.maps.needs_probabilities(step, layer)

    def observe_probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> None:
        self.maps.observe_probabilities(step, layer, probabilities)

    def mask(self) -> Tensor:
        control, heat = self.control, self.maps.heat
        high = (heat > control.threshold * heat.amax((-2, -1), keepdim=True)).amax(0).to(heat)
        mask = functional.interpolate(dilated(high, control.dilate), self.context.source.noise.shape[-2:])
        return blurred(mask, control.blur)

    def blend(self, k: int, z: Tensor, prediction: Prediction) -> Tensor:
        if not self.context.beyond(k, self.control.start):
            return z
        return kept_outside(self.mask(), z, self.context.source.latents[k + 1])
