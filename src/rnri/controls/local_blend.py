"""Only what the changed words look at changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor
from torch.nn import functional

from rnri.controls.base import Bound, Control, Job
from rnri.controls.masks import Kept, blurred
from rnri.controls.word_maps import WordMaps
from rnri.models.attention_hooks import INNER, Place


@dataclass(frozen=True)
class LocalBlend(Control):
    """Change the picture only where the words that differ are looked at: Prompt-to-Prompt's local blend.

    Cross attention is averaged over heads, layers and the steps so far: that of the target's new words at the edit, and
    that of the source's dropped words at the source. The mask is where either is high, M = [A > threshold·max A], grown
    by cells of the layers' grid and stretched to the latents. It is read at the layers of one level, the latents halved
    twice: 16² cells of 64².
    """

    source = publications.PROMPT_TO_PROMPT
    passage = "Section 4, local editing, and the published code"
    neutral: ClassVar = {"threshold": 0.0}
    attends: ClassVar = True
    beside: ClassVar = True

    threshold: float = option(0.3, "share of the most attention that counts as some", low=0.0, high=1.0)
    level: int = option(INNER, "attention is read where latents are halved this many times", low=0, high=16)
    start: float = option(0.2, "share of the steps before latents are kept; the picture is, always", low=0.0, high=1.0)
    dilate: int = option(1, "cells of that grid by which the mask is dilated", low=0, high=16)
    blur: float = option(
        0.0, "standard deviation of the Gaussian on its edges, in cells of the latents", low=0.0, high=16.0
    )

    def bind(self, job: Job) -> Bound:
        return _Watching(job, self)


class _Watching(Kept):
    def __init__(self, job: Job, control: LocalBlend) -> None:
        super().__init__(job)
        self.control = control
        self.maps = WordMaps(job, control.level)

    def weighs(self, place: Place, cells: int) -> bool:
        return self.maps.weighs(place, cells)

    def look(self, place: Place, weights: Tensor) -> None:
        self.maps.look(place, weights)

    def mask(self) -> Tensor:
        control, heat = self.control, self.maps.heat
        looked = (heat > control.threshold * heat.amax((-2, -1), keepdim=True)).amax(0).to(heat)
        grown = functional.max_pool2d(looked, 2 * control.dilate + 1, 1, control.dilate)
        return blurred(functional.interpolate(grown, self.job.source.noise.shape[-2:]), control.blur)

    def blend(self, k: int, z: Tensor) -> Tensor:
        return super().blend(k, z) if self.job.reached(k, self.control.start) else z
