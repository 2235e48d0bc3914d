"""Sana: a linear-attention transformer on the latents of a deep-compression autoencoder, reading Gemma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rnri_core import publications
from torch import Tensor

from rnri.models.adapter import ModelAdapter
from rnri.models.components import GEMMA


class Sana(ModelAdapter):
    """A rectified flow (Xie et al. 2024). Prompts are read as they are, without the instruction to embellish them.

    Checkpoints come with a multistep sampler: ask for scheduler flow.
    """

    title = "Sana"
    source = publications.SANA
    gigabytes = 9.1
    recommended = "3 to 4.5"
    examples = ("Efficient-Large-Model/Sana_1600M_1024px_diffusers",)
    components: ClassVar = {"vae": ("AutoencoderDC",), "transformer": ("SanaTransformer2DModel",), **GEMMA}
    patch = 1
    max_tokens = 300
    steps = 20

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        return self.read_masked(prompts)

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.network(
            z,
            encoder_hidden_states=read["tokens"],
            encoder_attention_mask=read["mask"],
            timestep=t * self.network.config.timestep_scale,
            return_dict=False,
        )[0]
        return output[:, : z.shape[1]]
