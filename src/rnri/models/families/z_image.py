"""Z-Image: a single-stream transformer on image and text tokens, reading Qwen 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rnri.models.adapter import ModelAdapter
from rnri.models.components import KL, QWEN
from rnri.models.schedulers import dynamic_shift, even_sigmas


class ZImage(ModelAdapter):
    """A rectified flow whose time runs from noise at 0 to the image at 1."""

    title = "Z-Image, Z-Image-Turbo"
    gigabytes = 20.5
    recommended = "3 to 5; Turbo 0"
    guidance_threshold = 0.0
    examples = ("Tongyi-MAI/Z-Image-Turbo",)
    components: ClassVar = {"vae": KL, "transformer": ("ZImageTransformer2DModel",), **QWEN}
    max_tokens = 512
    steps = 9

    def native_size(self) -> tuple[int, int]:
        return 1024, 1024

    def latent_shape(self, image_size: tuple[int, int]) -> tuple[int, int, int]:
        height, width = image_size
        return self.network.in_channels, height // self.factor, width // self.factor

    def positions(self) -> int:
        return int(min(self.network.config.axes_lens[1:]))

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        """Tokens padded to the longest prompt, and which of them are a prompt's own."""
        tokens, _ = self.pipe.encode_prompt(prompts, device=self.device, do_classifier_free_guidance=False)
        own = [each.new_ones(len(each), dtype=torch.bool) for each in tokens]
        return {"tokens": pad_sequence(list(tokens), batch_first=True), "mask": pad_sequence(own, batch_first=True)}

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        tokens = [row[:count] for row, count in zip(read["tokens"], read["mask"].sum(1).tolist(), strict=True)]
        images = list(z.unsqueeze(2).unbind(0))
        outputs = self.network(images, 1 - t / 1000, tokens, return_dict=False)[0]
        return -torch.stack(list(outputs)).squeeze(2)

    def combine(self, conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
        """conditional + guidance·(conditional − base): a scale that counts from 0, as the pipeline's does."""
        return conditional + guidance * (conditional - base)

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        return {"sigmas": even_sigmas(num_steps), "mu": dynamic_shift(self.scheduler, self.tokens(shape))}
