"""LEDITS++: edit-friendly noise maps, with guidance under a mask of the edit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from rnri_core import publications
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.inversion.inversion import Inversion, sample
from rnri_core.registry import option
from rnri_core.sampling.steps import Denoiser
from torch import Tensor
from torch.nn import functional

from rnri.baselines.canvas import STRENGTH, Canvas, Rival
from rnri.controls.word_maps import WordMaps
from rnri.models.attention import attending
from rnri.models.attention_hooks import INNER

NOISY = 800
"""Above this timestep, of 1000, predictions differ too little for a mask of their difference, and it is left out."""

SPREAD = math.exp(-1)
"""Weight of a neighbour in the smoothing of attention, next to 1 for the cell itself: a Gaussian, cut to 3×3."""


@dataclass(frozen=True)
class Ledits(Rival):
    """LEDITS++: from the source's prediction, scale times the way to the target's, under two masks.

    m = m_source + scale·M₁·M₂·(m_target − m_source). M₁ has the cells that the words which differ look at most, by a
    quantile of this step's cross attention, smoothed; M₂ those where the two predictions differ most, by a quantile of
    the sum over channels, at timesteps up to 800. The source prompt reconstructs the picture to rounding error. The
    published form inverts with DPM-Solver++ and guides from no prompt, with two masks for each phrase; here source and
    target prompt are given, and the steps are the model's own.
    """

    source = publications.LEDITS
    passage = "Section 4, textual editing and semantic grounding, and the pipeline in diffusers"

    strength: float = option(0.75, STRENGTH, low=0.01, high=1.0)
    scale: float = option(1.5, "how far past the target's prediction it goes", low=0.0, high=100.0)
    quantile: float = option(0.75, "λ of M₂, the share of latents that are left out", low=0.0, high=1.0)
    attention: float = option(0.75, "λ of M₁, the share of its cells that are left out; 0 for no M₁", low=0.0, high=1.0)
    level: int = option(INNER, "M₁ is read where latents are halved this many times", low=0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        network, seed = canvas.network([canvas.source]), canvas.generator.initial_seed()
        source = EditFriendly().invert(network, canvas.part(self.strength), canvas.clean, seed=seed)
        source = source.described(prompt=canvas.source)
        return torch.cat([self.edited(canvas, source, target) for target in canvas.targets])

    def edited(self, canvas: Canvas, source: Inversion, target: str) -> Tensor:
        """The latents of one edit of the inverted picture."""
        model = canvas.editor.model
        watching = None
        if self.attention:
            length = model.embed([target]).tokens.shape[1]
            watching = WordMaps(model, source, [target], self.level, length=length, targets=slice(1, 2))
        with attending(model, [watching] if watching else []):
            m = self.guided(canvas.network([canvas.source, target]), watching)
            return sample(m, source.schedule, source.noise, noise_maps=source.noise_maps)

    def guided(self, both: Denoiser, watching: WordMaps | None) -> Denoiser:
        """Guidance under the masks, from a network whose rows are bound to the source prompt and the target."""

        def m(z: Tensor, t: float) -> Tensor:
            theirs, ours = both(torch.cat([z, z]), t).chunk(2)
            change = self.scale * (ours - theirs)
            strong = change.abs().sum(1, keepdim=True)
            if watching is not None:
                heat, looked = watching.heat, torch.zeros_like(watching.heat[0])
                for words, each in zip((watching.removed, watching.added), heat, strict=True):
                    if words.any():
                        looked = torch.maximum(looked, most(smoothed(each), self.attention))
                watching.clear()
                change = change * functional.interpolate(looked, z.shape[-2:]).to(z)
            return theirs + (change * most(strong, self.quantile) if t <= NOISY else change)

        return m


def most(heat: Tensor, share: float) -> Tensor:
    """Mask of the cells of maps (B, 1, h, w) that are at least this quantile of their own map.

    >>> most(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]), 0.5)
    tensor([[[[0., 0., 1., 1.]]]])
    """
    least = heat.float().flatten(1).quantile(share, dim=1)
    return (heat >= least[:, None, None, None].to(heat)).to(heat)


def smoothed(heat: Tensor) -> Tensor:
    """Maps (B, 1, h, w) under a Gaussian of 3×3 cells, reflected at the edges.

    >>> smoothed(torch.tensor([[[[0.0, 1.0, 0.0]]]]))[0, 0, 0, 1].item()
    0.576...
    """
    weights = torch.tensor([SPREAD, 1.0, SPREAD], device=heat.device, dtype=heat.dtype)
    for axis in (2, 3):
        kernel = (weights / weights.sum()).view(1, 1, *((3, 1) if axis == 2 else (1, 3)))
        sides = (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0)
        mode = "reflect" if heat.shape[axis] > 1 else "replicate"
        heat = functional.conv2d(functional.pad(heat, sides, mode=mode), kernel)
    return heat
