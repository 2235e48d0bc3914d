"""Conditioning between the source and the target prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option

from rnri.controls.base import EditContext, ModelControl
from rnri.controls.conditions import between
from rnri.models.base import Condition


@dataclass(frozen=True)
class Embedding(ModelControl):
    """Interpolate the two prompts' embeddings: e = e_source + strength·(e_target − e_source).

    Above 1 it extrapolates past the target.
    """

    source = publications.IMAGIC
    passage = "Eq. 3"
    neutral: ClassVar = {"strength": 1.0}

    strength: float = option(0.7, "0 is the source prompt, 1 the target, more goes past it", low=0.0, high=3.0)

    def condition(self, context: EditContext, target: Condition) -> Condition:
        return between(context.model.embed([context.source.prompt]), target, self.strength)
