"""AuraFlow: a transformer of two kinds of blocks, reading T5 of UMT5's kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from rnri.models.adapter import ModelAdapter
from rnri.models.components import KL


class AuraFlow(ModelAdapter):
    """A rectified flow."""

    title = "AuraFlow"
    gigabytes = 16.3
    recommended = "3 to 3.5"
    examples = ("fal/AuraFlow-v0.3",)
    components: ClassVar = {
        "vae": KL,
        "transformer": ("AuraFlowTransformer2DModel",),
        "text_encoder": ("UMT5EncoderModel", "T5EncoderModel"),
        "tokenizer": (),
    }
    max_tokens = 256

    def positions(self) -> int:
        return math.isqrt(self.network.config.pos_embed_max_size)

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        read = self.pipe.encode_prompt(prompts, do_classifier_free_guidance=False, device=self.device)
        return {"tokens": read[0]}

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.network(z, encoder_hidden_states=read["tokens"], timestep=t / 1000, return_dict=False)[0]
        return output
