"""Only what the two prompts disagree about changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.controls.base import Bound, Control, Job
from rnri.controls.masks import Kept, parted


@dataclass(frozen=True)
class DiffEditMask(Control):
    """Change the picture only where predictions for the source and the target prompt differ.

    The map is |x̂(z, target) − x̂(z, source)|, the mean over channels and over some of the inversion's own latents z, for
    two evaluations each. DiffEdit takes latents noised at random and differences of ε instead.
    """

    source = publications.DIFFEDIT
    passage = "Section 3.2, step 1"
    neutral: ClassVar = {"threshold": 0.0}

    threshold: float = option(0.35, "share of the largest difference that counts as one", low=0.0, high=1.0)
    maps: int = option(4, "number of difference maps that are summed, at evenly spread steps", low=1, high=1000)
    dilate: int = option(1, "cells of the latents by which the mask is dilated", low=0, high=16)
    blur: float = option(0.5, "standard deviation of the Gaussian on its edges, in cells", low=0.0, high=16.0)

    def bind(self, job: Job) -> Bound:
        model, source, count = job.model, job.source, len(job.prompts)
        m = model.denoiser(model.embed([source.prompt, *job.prompts]))
        maps = min(self.maps, job.steps)
        heat = torch.zeros(1)
        for k in {(2 * n + 1) * job.steps // (2 * maps) for n in range(maps)}:
            z = source.latents[k].to(model.device).expand(1 + count, -1, -1, -1)
            seen = source.schedule[k].predict_x0(m, z)
            heat = heat.to(z) + (seen[1:] - seen[:1]).abs().mean(1, keepdim=True)
        bound = _Different(job, parted(heat, self.threshold, self.dilate, self.blur))
        bound.nfe = (1 + count) * maps
        return bound


class _Different(Kept):
    def __init__(self, job: Job, mask: Tensor) -> None:
        super().__init__(job)
        self.found = mask

    def mask(self) -> Tensor:
        return self.found
