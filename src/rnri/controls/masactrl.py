"""Mutual self attention: the source's textures in the edit's layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import AttentionState, EditContext, ModelControl, missing
from rnri.models.attention_hooks import AttentionLayer, Projections


@dataclass(frozen=True)
class MasaCtrl(ModelControl):
    """Give the edit's self attention the keys and values of the source, so that it queries its contents.

    It acts from a share of the steps on, when the layout is fixed, and from a share of the layers on. For changes of
    pose, number and position. Rows under the target prompts take keys and values from the source under its own prompt,
    those under the negative prompt from the source under that.
    """

    source = publications.MASACTRL
    passage = "Algorithm 1"
    neutral: ClassVar = {"start": 1.0}
    needs_source: ClassVar = True
    needs_negative_source: ClassVar = True

    start: float = option(0.08, "share of the steps after which it begins, 1 for never", low=0.0, high=1.0)
    layers: float = option(0.6, "share of the layers after which it begins", low=0.0, high=1.0)

    def state(self, context: EditContext) -> _MasaCtrl:
        return _MasaCtrl(context, self)


class _MasaCtrl(AttentionState):
    def __init__(self, context: EditContext, control: MasaCtrl) -> None:
        super().__init__(context)
        self.control = control
        if not any(map(self._acts, context.layers())):
            layers = f"self attention after layers={control.layers:g}"
            raise missing(context.model, context.source, layers, "give a smaller share of the layers")

    def _acts(self, layer: AttentionLayer) -> bool:
        return not layer.cross and layer.index >= self.control.layers * layer.count

    def project(self, step: int, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> Projections:
        if not self._acts(layer) or not self.context.beyond(step, self.control.start):
            return q, k, v
        rows = torch.zeros(len(k), dtype=torch.long, device=k.device)
        if self.context.negatives is not None:
            rows[self.context.negatives] = self.context.negatives.start
        return q, k[rows], v[rows]
