"""Stable Diffusion 3 and 3.5: a transformer on image and text tokens at once, a rectified flow, three text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rnri_core import publications
from torch import Tensor

from rnri.models.adapter import ModelAdapter
from rnri.models.components import CLIP, KL
from rnri.models.schedulers import dynamic_shift


class StableDiffusion3(ModelAdapter):
    """As Esser et al. 2024 have it. The largest text encoder, T5, may be missing: its tokens are zeros then."""

    title = "Stable Diffusion 3, 3.5, 3.5 Turbo"
    source = publications.STABLE_DIFFUSION_3
    gigabytes = 16.3
    recommended = "3 to 5; Turbo 1"
    examples = ("stabilityai/stable-diffusion-3.5-medium", "stabilityai/stable-diffusion-3.5-large-turbo")
    components: ClassVar = {
        "vae": KL,
        "transformer": ("SD3Transformer2DModel",),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "tokenizer": CLIP,
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer_2": CLIP,
        "text_encoder_3": ("T5EncoderModel", None),
        "tokenizer_3": ("T5Tokenizer", "T5TokenizerFast", None),
    }
    max_tokens = 256

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        tokens, _, pooled, _ = self.pipe.encode_prompt(
            prompts,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_tokens,
        )
        return {"tokens": tokens, "pooled": pooled}

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.network(
            hidden_states=z,
            timestep=t,
            encoder_hidden_states=read["tokens"],
            pooled_projections=read["pooled"],
            return_dict=False,
        )[0]
        return output

    def positions(self) -> int:
        return int(self.network.config.pos_embed_max_size)

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        if not self.scheduler.config.get("use_dynamic_shifting"):
            return {}
        return {"mu": dynamic_shift(self.scheduler, self.tokens(shape), most=1.16)}

    def reader(self) -> tuple[Any, int]:
        if self.pipe.text_encoder_3 is None:
            return self.pipe.tokenizer, self.pipe.tokenizer.model_max_length
        return self.pipe.tokenizer_3, self.max_tokens
