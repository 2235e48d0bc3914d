"""FLUX.1: a transformer of two kinds of blocks on packed latents, guidance as an input or distilled away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rnri.models.adapter import FEW_STEPS, ModelAdapter
from rnri.models.base import Guidance
from rnri.models.components import CLIP, KL
from rnri.models.defaults import Defaults
from rnri.models.schedulers import dynamic_shift, even_sigmas


class Flux(ModelAdapter):
    """A rectified flow. Latents stay (B, 16, h, w) outside the network, which takes patches of 2 by 2."""

    title = "FLUX.1 schnell, dev"
    gigabytes = 33.7
    examples = ("black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-dev")
    components: ClassVar = {
        "vae": KL,
        "transformer": ("FluxTransformer2DModel",),
        "text_encoder": ("CLIPTextModel",),
        "tokenizer": CLIP,
        "text_encoder_2": ("T5EncoderModel",),
        "tokenizer_2": ("T5Tokenizer", "T5TokenizerFast"),
    }
    recommended = "dev 3.5 by number; schnell none"
    steps = 28

    @property
    def guidance(self) -> Guidance:
        return "embedded" if self.network.config.guidance_embeds else "none"

    def own_defaults(self) -> Defaults:
        return Defaults(self.steps, 3.5) if self.guidance == "embedded" else Defaults(FEW_STEPS)

    def latent_shape(self, image_size: tuple[int, int]) -> tuple[int, int, int]:
        channels, height, width = super().latent_shape(image_size)
        return channels // self.patch**2, height, width

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        tokens, pooled, _ = self.pipe.encode_prompt(prompts, device=self.device, max_sequence_length=self.reader()[1])
        return {"tokens": tokens, "pooled": pooled}

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        batch, channels, height, width = z.shape
        tokens = read["tokens"]
        output: Tensor = self.network(
            hidden_states=self.pipe._pack_latents(z, batch, channels, height, width),
            timestep=t / 1000,
            guidance=read.get("guidance"),
            pooled_projections=read["pooled"],
            encoder_hidden_states=tokens,
            txt_ids=torch.zeros(tokens.shape[1], 3, device=z.device, dtype=z.dtype),
            img_ids=_positions(height // 2, width // 2, z),
            return_dict=False,
        )[0]
        latents: Tensor = self.pipe._unpack_latents(output, height * self.factor, width * self.factor, self.factor)
        return latents

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        levels = None if self.scheduler.config.get("use_flow_sigmas") else even_sigmas(num_steps)
        return {"sigmas": levels, "mu": dynamic_shift(self.scheduler, self.tokens(shape))}

    def reader(self) -> tuple[Any, int]:
        """The T5 tokenizer; schnell was trained with half the length."""
        return self.pipe.tokenizer_2, 512 if self.network.config.guidance_embeds else 256


def _positions(rows: int, columns: int, like: Tensor) -> Tensor:
    """(0, row, column) of each patch, (rows · columns, 3)."""
    ranges = (torch.arange(count, device=like.device, dtype=like.dtype) for count in (1, rows, columns))
    return torch.cartesian_prod(*ranges)
