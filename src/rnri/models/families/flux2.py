"""FLUX.2 klein: FLUX.2's transformer at a size for one GPU, on normalised patches of latents, reading Qwen 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rnri.models.adapter import FEW_STEPS, ModelAdapter
from rnri.models.base import Guidance
from rnri.models.components import QWEN
from rnri.models.defaults import Defaults
from rnri.models.schedulers import even_sigmas


class Flux2Klein(ModelAdapter):
    """A rectified flow. Latents are patches of 2 by 2, normalised: (B, 128, h/2, w/2) of the autoencoder's h by w."""

    title = "FLUX.2 klein"
    gigabytes = 16.0
    examples = ("black-forest-labs/FLUX.2-klein-4B",)
    components: ClassVar = {"vae": ("AutoencoderKLFlux2",), "transformer": ("Flux2Transformer2DModel",), **QWEN}
    max_tokens = 512
    recommended = "distilled none; base 2 to 4"
    patch = 1
    steps = 50

    @property
    def guidance(self) -> Guidance:
        return "none" if self.pipe.config.get("is_distilled") else "classifier-free"

    def latent_factor(self) -> int:
        return 2 * super().latent_factor()

    def native_size(self) -> tuple[int, int]:
        side = self.pipe.default_sample_size * self.factor // 2
        return side, side

    def own_defaults(self) -> Defaults:
        return Defaults(FEW_STEPS if self.guidance == "none" else self.steps)

    def _encode(self, vae: Any, image: Tensor) -> Tensor:
        latent = vae.encode(image.to(self.device, vae.dtype)).latent_dist.mode()
        mean, deviation = self._statistics(latent.device)
        output: Tensor = (self.pipe._patchify_latents(latent).float() - mean) / deviation
        return output

    def _decode(self, vae: Any, latent: Tensor) -> Tensor:
        mean, deviation = self._statistics(self.device)
        patches = latent.to(self.device) * deviation + mean
        output: Tensor = vae.decode(self.pipe._unpatchify_latents(patches).to(vae.dtype)).sample.float()
        return output

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel of patches, from an autoencoder that may be offloaded."""
        norm = self.vae.bn
        mean, variance = (each.float().to(device).view(1, -1, 1, 1) for each in (norm.running_mean, norm.running_var))
        return mean, (variance + self.vae.config.batch_norm_eps).sqrt()

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        return {"tokens": self.pipe.encode_prompt(prompts, device=self.device)[0]}

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        batch, _, height, width = z.shape
        tokens = read["tokens"]
        output: Tensor = self.network(
            hidden_states=z.flatten(2).transpose(1, 2),
            timestep=t / 1000,
            guidance=None,
            encoder_hidden_states=tokens,
            txt_ids=_positions(batch, (1, 1, 1, tokens.shape[1]), z.device),
            img_ids=_positions(batch, (1, height, width, 1), z.device),
            return_dict=False,
        )[0]
        return output.transpose(1, 2).reshape(len(output), -1, height, width)

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        levels = None if self.scheduler.config.get("use_flow_sigmas") else even_sigmas(num_steps)
        return {"sigmas": levels, "mu": _shift(shape[1] * shape[2], num_steps)}


def _positions(batch: int, counts: tuple[int, ...], device: torch.device) -> Tensor:
    """All (time, row, column, place in the text), (batch, …, 4)."""
    places = torch.cartesian_prod(*(torch.arange(count, device=device) for count in counts))
    return places.expand(batch, -1, -1)


def _shift(tokens: int, num_steps: int) -> float:
    """μ as FLUX.2 was tuned: linear in the number of tokens at 10 and at 200 steps, and between them in the steps."""
    many = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return many
    few = 8.73809524e-05 * tokens + 1.89833333
    return many + (few - many) * (200 - num_steps) / 190
