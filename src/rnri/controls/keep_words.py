"""Only what the changed words look at changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from rnri.attention import Place
from rnri.controls import sources
from rnri.controls.alignment import align
from rnri.controls.base import Bound, Control, Job
from rnri.controls.masks import Kept, parted
from rnri.registry import option


@dataclass(frozen=True)
class KeepWords(Control):
    """Change the picture only where the words that differ are looked at: Prompt-to-Prompt's local blend.

    Cross attention is averaged over heads, layers and the steps so far: that of the target's new words at the edit, and
    that of the source's dropped words at the source. The mask is where either is high.
    """

    source = sources.PROMPT_TO_PROMPT
    passage = "Section 4, local editing, and the published code"
    neutral: ClassVar = {"threshold": 0.0}
    attends: ClassVar = True
    beside: ClassVar = True

    threshold: float = option(0.3, "share of the most attention that counts as some", low=0.0, high=1.0)
    cells: int = option(256, "attention is read where the grid has at most this many cells", low=1, high=16384)
    grow: int = option(1, "cells of the latents that the mask is grown by", low=0, high=16)
    soft: float = option(0.5, "how soft its edges become, in cells", low=0.0, high=16.0)

    def bind(self, job: Job) -> Bound:
        return _Watching(job, self)


class _Watching(Kept):
    def __init__(self, job: Job, control: KeepWords) -> None:
        super().__init__(job)
        self.control = control
        self.shape = job.source.noise.shape[-2:]
        source = job.words(job.source.prompt)
        found = [align(source, job.words(prompt), job.length, replace=False) for prompt in job.prompts]
        self.dropped = torch.zeros(len(found), job.length)
        self.new = torch.zeros(len(found), job.length)
        for n, alignment in enumerate(found):
            self.dropped[n, list(alignment.removed)] = 1
            self.new[n, list(alignment.added)] = 1
        self.heat = torch.zeros(2, len(found), 1, *self.shape)

    def weighs(self, place: Place, cells: int) -> bool:
        return place.cross and cells <= self.control.cells

    def weigh(self, place: Place, weights: Tensor) -> Tensor:
        height, width = self.shape
        shrunk = math.sqrt(height * width / weights.shape[2])
        grid = (round(height / shrunk), round(width / shrunk))
        seen = weights.detach().mean(1)
        theirs = seen[:1] @ self.dropped.to(seen)[..., None]
        ours = seen[self.job.targets] @ self.new.to(seen)[..., None]
        maps = torch.cat([theirs, ours]).transpose(1, 2).unflatten(2, grid)
        grown = functional.interpolate(maps, self.shape, mode="bilinear")
        self.heat = self.heat.to(grown) + grown.unflatten(0, (2, -1))
        return weights

    def mask(self) -> Tensor:
        control = self.control
        theirs, ours = (parted(heat, control.threshold, control.grow, control.soft) for heat in self.heat)
        return torch.maximum(theirs, ours)
