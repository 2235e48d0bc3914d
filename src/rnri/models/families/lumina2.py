"""Lumina-Image 2.0: a unified transformer on image and text tokens, reading Gemma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rnri.models.adapter import ModelAdapter
from rnri.models.components import GEMMA, KL
from rnri.models.schedulers import dynamic_shift, even_sigmas


class Lumina2(ModelAdapter):
    """A rectified flow whose time runs from noise at 0 to the image at 1 (Qin et al. 2025).

    A prompt follows the pipeline's system prompt; a negative prompt does not.
    """

    title = "Lumina-Image 2.0"
    gigabytes = 10.6
    recommended = "3 to 4"
    examples = ("Alpha-VLLM/Lumina-Image-2.0",)
    components: ClassVar = {"vae": KL, "transformer": ("Lumina2Transformer2DModel",), **GEMMA}
    max_tokens = 256

    def positions(self) -> int:
        return int(min(self.network.config.axes_lens[1:]))

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        tokens, mask, *_ = self.pipe.encode_prompt(
            prompts, False, device=self.device, max_sequence_length=self.max_tokens
        )
        return {"tokens": tokens, "mask": mask}

    def read_negative(self, negative: str | None) -> dict[str, Tensor]:
        tokens, mask = self.pipe._get_gemma_prompt_embeds([negative or ""], self.device, self.max_tokens)
        return {"tokens": tokens, "mask": mask}

    def combine(self, conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
        """Guided, then each row of latents as long as in the conditional output: the pipeline's `cfg_normalization`."""
        whole = super().combine(conditional, base, guidance)
        lengths = (torch.linalg.vector_norm(each, dim=-1, keepdim=True) for each in (conditional, whole))
        return whole * torch.div(*lengths)

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = -self.network(
            hidden_states=z,
            timestep=1 - t / self.scheduler.config.num_train_timesteps,
            encoder_hidden_states=read["tokens"],
            encoder_attention_mask=read["mask"],
            return_dict=False,
        )[0]
        return output

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        """As the pipeline has it, which counts channels for tokens; it matters where the shift is not fixed."""
        return {"sigmas": even_sigmas(num_steps), "mu": dynamic_shift(self.scheduler, shape[0])}
