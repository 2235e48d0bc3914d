"""SDXL and its few-step relatives: a larger UNet, two text encoders, pooled embeddings, and the size as an input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from rnri_core import publications
from torch import Tensor

from rnri.models.components import CLIP
from rnri.models.families.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    """As Podell et al. 2023 have it. Without a negative prompt guidance leads away from zeros, where the checkpoint's
    `force_zeros_for_empty_prompt` is set; an empty prompt, negative or not, is read as a text."""

    title = "SDXL, SDXL-Turbo, -Lightning, Hyper-SD"
    source = publications.SDXL
    gigabytes = 6.9
    recommended = "3 to 7; few-step ones 1"
    examples = ("stabilityai/stable-diffusion-xl-base-1.0", "stabilityai/sdxl-turbo")
    components: ClassVar = {
        **StableDiffusion.components,
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer_2": CLIP,
    }

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        tokens, _, pooled, _ = self.pipe.encode_prompt(
            prompts, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return {"tokens": tokens, "pooled": pooled}

    def read_negative(self, negative: str | None) -> dict[str, Tensor]:
        read = super().read_negative(negative)
        zeros = negative is None and self.pipe.config.get("force_zeros_for_empty_prompt")
        return {name: torch.zeros_like(each) for name, each in read.items()} if zeros else read

    def added(self, z: Tensor, read: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The pooled embeddings, and (original size, crop, target size): the image's own, uncropped."""
        sizes = z.new_zeros(len(z), 6)
        sizes[:, ::4] = z.shape[-2] * self.factor
        sizes[:, 1::4] = z.shape[-1] * self.factor
        return {"text_embeds": read["pooled"], "time_ids": sizes}
