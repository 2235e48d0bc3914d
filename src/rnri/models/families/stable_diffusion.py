"""Stable Diffusion 1.x and 2.x and their relatives: a UNet on the latents of an autoencoder, one CLIP text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from rnri_core import publications
from torch import Tensor

from rnri.models.adapter import NOISE_SAMPLERS, ModelAdapter
from rnri.models.base import Guidance
from rnri.models.components import CLIP, KL


class StableDiffusion(ModelAdapter):
    """Predicts noise or v (Rombach et al. 2022). UNets that read the guidance scale (LCM) are given it."""

    title = "Stable Diffusion 1.x, 2.x, SD-Turbo"
    source = publications.LATENT_DIFFUSION
    gigabytes = 2.1
    recommended = "3 to 7.5; SD-Turbo 1"
    examples: ClassVar[tuple[str, ...]] = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "stabilityai/sd-turbo")
    network_component = "unet"
    components: ClassVar = {
        "vae": KL,
        "unet": ("UNet2DConditionModel",),
        "text_encoder": ("CLIPTextModel",),
        "tokenizer": CLIP,
    }
    samplers = NOISE_SAMPLERS
    patch = 1

    @cached_property
    def unet(self) -> Any:
        """The network, whose attention can be hooked."""
        return self.pipe.unet

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of CLIP; SDXL's second one has the same tokens."""
        return self.pipe.tokenizer

    @property
    def guidance(self) -> Guidance:
        return "classifier-free" if self.network.config.time_cond_proj_dim is None else "embedded"

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        return {"tokens": self.pipe.encode_prompt(prompts, self.device, 1, False)[0]}

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        scale = None
        if "guidance" in read:
            width = self.network.config.time_cond_proj_dim
            scale = self.pipe.get_guidance_scale_embedding(read["guidance"] - 1, embedding_dim=width).to(z)
        output: Tensor = self.network(
            z,
            t,
            encoder_hidden_states=read["tokens"],
            timestep_cond=scale,
            added_cond_kwargs=self.added(z, read),
            return_dict=False,
        )[0]
        return output

    def added(self, z: Tensor, read: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Inputs of the UNet besides tokens and time."""
        return None
