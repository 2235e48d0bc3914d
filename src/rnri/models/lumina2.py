"""Lumina-Image 2.0: a unified transformer on image and text tokens, reading Gemma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnri.models.family import Family
from rnri.models.flow import even, shift_of


class Lumina2(Family):
    """A rectified flow whose time runs from noise at 0 to the image at 1 (Qin et al. 2025).

    A prompt follows the pipeline's system prompt; an empty one does not.
    """

    title = "Lumina-Image 2.0"
    gigabytes = 10.6
    recommended = "3 to 4"
    examples = ("Alpha-VLLM/Lumina-Image-2.0",)
    parts = {  # noqa: RUF012
        "vae": ("AutoencoderKL", "AutoencoderTiny"),
        "transformer": ("Lumina2Transformer2DModel",),
        "text_encoder": ("Gemma2Model",),
        "tokenizer": ("GemmaTokenizer", "GemmaTokenizerFast"),
    }
    max_tokens = 256

    def _places(self) -> int:
        return min(self.network.config.axes_lens[1:])

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        read = [
            self.pipe.encode_prompt(prompt, False, device=self.device, max_sequence_length=self.max_tokens)
            if prompt
            else self.pipe._get_gemma_prompt_embeds(prompt, self.device, self.max_tokens)
            for prompt in prompts
        ]
        return {"tokens": torch.cat([each[0] for each in read]), "mask": torch.cat([each[1] for each in read])}

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        return -self.network(
            hidden_states=z,
            timestep=1 - t / self.scheduler.config.num_train_timesteps,
            encoder_hidden_states=read["tokens"],
            encoder_attention_mask=read["mask"],
            return_dict=False,
        )[0]

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        """As the pipeline has it, which counts channels for tokens; it matters where the shift is not fixed."""
        return {"sigmas": even(num_steps), "mu": shift_of(self.scheduler, shape[0])}
