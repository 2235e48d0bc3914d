"""DiffEdit's mask: the image changes only where predictions for the two prompts differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from rnri_core import publications
from rnri_core.controls.base import ControlState
from rnri_core.controls.masks import KeepOutside, blurred, dilated, thresholded
from rnri_core.registry import option

from rnri.controls.base import EditContext, ModelControl


@dataclass(frozen=True)
class DiffEditMask(ModelControl):
    """Change the image only where predictions for the source and the target prompt differ.

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

    def state(self, context: EditContext) -> ControlState:
        model, source, rows = context.model, context.source, 1 + context.count
        m = model.denoiser(model.embed([source.prompt, *context.prompts]))
        maps = min(self.maps, context.steps)
        heat = torch.zeros(1)
        for k in {(2 * n + 1) * context.steps // (2 * maps) for n in range(maps)}:
            z = source.latents[k].to(model.device).expand(rows, -1, -1, -1)
            pred_x0 = source.schedule[k].predict_x0(m, z)
            heat = heat.to(z) + (pred_x0[1:] - pred_x0[:1]).abs().mean(1, keepdim=True)
        mask = dilated(thresholded(heat, self.threshold), self.dilate)
        return KeepOutside(context, blurred(mask, self.blur), nfe=rows * maps)
