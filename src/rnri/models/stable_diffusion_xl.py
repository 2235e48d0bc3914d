"""SDXL and its few-step relatives: a larger UNet, two text encoders, pooled embeddings, and the size as an input."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rnri.models.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    """As Podell et al. 2023 have it. An empty prompt is zeros where the checkpoint says so, as it was trained."""

    title = "SDXL, SDXL-Turbo, -Lightning, Hyper-SD"
    gigabytes = 6.9
    recommended = "3 to 7; few-step ones 1"
    examples = ("stabilityai/stable-diffusion-xl-base-1.0", "stabilityai/sdxl-turbo")
    parts = {  # noqa: RUF012
        **StableDiffusion.parts,
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    }

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        tokens, _, pooled, _ = self.pipe.encode_prompt(
            prompts, device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        if self.pipe.config.get("force_zeros_for_empty_prompt"):
            said = torch.tensor([bool(prompt) for prompt in prompts], device=tokens.device)
            tokens, pooled = tokens * said[:, None, None], pooled * said[:, None]
        return {"tokens": tokens, "pooled": pooled}

    def added(self, z: Tensor, read: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The pooled embeddings, and (original size, crop, target size): the image's own, uncropped."""
        sizes = z.new_zeros(len(z), 6)
        sizes[:, ::4] = z.shape[-2] * self.factor
        sizes[:, 1::4] = z.shape[-1] * self.factor
        return {"text_embeds": read["pooled"], "time_ids": sizes}
