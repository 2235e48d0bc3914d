"""Latent consistency models: Stable Diffusion distilled to few steps, the guidance scale an input."""

from __future__ import annotations

from rnri_core import publications

from rnri.models.adapter import NOISE_SAMPLERS
from rnri.models.defaults import Defaults
from rnri.models.families.stable_diffusion import StableDiffusion


class LatentConsistency(StableDiffusion):
    """Jumps to the image and takes noise up again, a few times (Luo et al. 2023, "Latent Consistency Models")."""

    title = "Latent consistency models"
    source = publications.LCM
    gigabytes = 2.1
    examples = ("SimianLuo/LCM_Dreamshaper_v7",)
    samplers = ("lcm", *(name for name in NOISE_SAMPLERS if name != "lcm"))
    recommended = "8.5 by number"
    steps = 4

    def own_defaults(self) -> Defaults:
        return Defaults(super().own_defaults().steps, guidance=8.5 if self.guidance == "embedded" else 1.0)
