"""The step at which an edit starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.controls.base import Context, Control, ControlState, Prediction
from rnri_core.registry import option
from rnri_core.sampling.strength import strength_steps


@dataclass(frozen=True)
class StartStep(Control[Context]):
    """Start the edit at a later step than the noise, from the inversion's latents there.

    The first (1 − strength)·K of K steps are the inversion's own. Where that is no whole number, the latents at the end
    of the step it falls in are interpolated between the source's and the edit's, so that strength is continuous.
    """

    source = publications.SDEDIT
    passage = "Section 3, the realism-faithfulness trade-off, from inverted latents"
    neutral: ClassVar = {"strength": 1.0}

    strength: float = option(0.7, "0 is the source, 1 the whole edit", low=0.0, high=1.0)

    def state(self, context: Context) -> ControlState:
        return _Started(context, 1 - self.strength)


class _Started(ControlState):
    def __init__(self, context: Context, skipped: float) -> None:
        self.context = context
        self.first = strength_steps(skipped, context.steps, least=0)
        self.rest = max(skipped * context.steps - self.first, 0.0)

    def blend(self, k: int, z: Tensor, prediction: Prediction) -> Tensor:
        return z.lerp(self.context.source.latents[k + 1].to(z), self.rest) if k == self.first else z
