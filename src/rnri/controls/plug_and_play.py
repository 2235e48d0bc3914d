"""Plug-and-play: the source's decoder features and self attention in the edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import AttentionState, EditContext, ModelControl, missing
from rnri.models.attention_hooks import INNER, AttentionLayer, Projections


@dataclass(frozen=True)
class PlugAndPlay(ModelControl):
    """Inject the source's features and self attention into the decoder, so that the layout stays under any prompt.

    Features are those of the second residual block of the decoder where the latents are halved twice, 16² cells of 64²;
    attention is injected as queries and keys from the transformer behind that block on. Each is in a first share of the
    steps. For changes of style and material.
    """

    source = publications.PLUG_AND_PLAY
    passage = "Algorithm 1"
    neutral: ClassVar = {"features": 0.0, "attention": 0.0}
    needs_source: ClassVar = True

    features: float = option(0.8, "share of the steps whose features are the source's", low=0.0, high=1.0)
    attention: float = option(0.5, "share of the steps whose self attention is the source's", low=0.0, high=1.0)

    def state(self, context: EditContext) -> _PlugAndPlay:
        return _PlugAndPlay(context, self)


class _PlugAndPlay(AttentionState):
    def __init__(self, context: EditContext, control: PlugAndPlay) -> None:
        super().__init__(context)
        self.control = control
        if control.attention and not any(map(self._acts, context.layers())):
            raise missing(context.model, context.source, "self attention in the decoder", "set attention=0")

    def _acts(self, layer: AttentionLayer) -> bool:
        behind = layer.level < INNER or (layer.level == INNER and layer.transformer > 0)
        return layer.part == "up" and not layer.cross and behind

    def project(self, step: int, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> Projections:
        if not self._acts(layer) or self.context.beyond(step, self.control.attention):
            return q, k, v
        return q[:1].expand_as(q), k[:1].expand_as(k), v

    def feature(self, step: int, hidden: Tensor) -> Tensor:
        return hidden if self.context.beyond(step, self.control.features) else hidden[:1].expand_as(hidden)
