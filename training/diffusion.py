"""Stage 3: the denoiser, a text-conditioned UNet over 16x16x12 latents, trained with v-prediction.

    z_t = √ᾱ_t x_0 + √(1-ᾱ_t) ε          v = √ᾱ_t ε - √(1-ᾱ_t) x_0          loss = ‖UNet(z_t, t, text) - v‖²

(Salimans and Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion Models", section 4). One caption in
ten is emptied, so that the network can be guided (Ho and Salimans 2022, "Classifier-Free Diffusion Guidance").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from rnri.scenes.captions import caption
from rnri.scenes.scene import Scene
from training import text
from training.autoencoder import LATENT_CHANNELS
from training.loop import device, fit
from training.text import WIDTH, ids

EMPTIED = 0.1
"""Share of captions replaced by the empty one."""
_BAND, _BAND_WEIGHT = slice(4, 12), 4.0
_NOISIER = 0.7
"""Exponent of the uniform draw that a timestep is."""


def new() -> UNet2DConditionModel:
    """An untrained UNet of three levels, the same at every call; words are read at 8x8 and 4x4."""
    torch.manual_seed(3)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        attention_head_dim=4,  # diffusers reads this as the number of heads
        cross_attention_dim=WIDTH,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=text.HEADS,
        use_linear_projection=True,
    )


def widened(old: UNet2DConditionModel) -> UNet2DConditionModel:
    """A UNet for ``LATENT_CHANNELS`` that starts as ``old``, for fewer: it ignores the new channels and predicts 0."""
    model = new()
    weights = old.state_dict()
    for name, weight in model.state_dict().items():
        if weight.shape != weights[name].shape:
            grown = torch.zeros_like(weight)
            grown[tuple(map(slice, weights[name].shape))] = weights[name]
            weights[name] = grown
    model.load_state_dict(weights)
    return model


def scheduler() -> DDIMScheduler:
    """The noise schedule of both checkpoints: Stable Diffusion's betas, v-prediction, trailing timesteps."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


class Painter(nn.Module):
    """Text encoder and UNet, trained as one."""

    def __init__(self, text: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text, self.unet = text, unet

    @classmethod
    def new(cls, reader: text.Comprehension) -> Painter:
        """An untrained UNet with an encoder, and a summary of the caption, that can read."""
        unet = new()
        unet.add_embedding.load_state_dict(reader.summary.state_dict())
        return cls(reader.encoder, unet)

    def forward(self, z: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        output: Tensor = self.unet(z, t, self.text(tokens).last_hidden_state).sample
        return output


def draw(
    words: CLIPTokenizer, latents: Tensor, scenes: list[Scene], batch: int, generator: torch.Generator, emptied: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch ``(tokens, clean, noise)``: a fresh paraphrase of each scene, a share ``emptied`` of them empty."""
    index = torch.randint(len(latents), (batch,), generator=generator)
    rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    texts = ["" if rng.random() < emptied else caption(scenes[k], rng) for k in index.tolist()]
    clean = latents[index].to(device(), torch.float32)
    noise = torch.randn(clean.shape, generator=generator).to(device())
    return ids(words, texts).to(device()), clean, noise


def train(
    model: Painter,
    words: CLIPTokenizer,
    latents: Tensor,
    scenes: list[Scene],
    folder: Path,
    *,
    steps: int,
    batch: int = 32,
    rate: float = 8e-4,
) -> Painter:
    """Train UNet and text encoder together on the cached latents."""
    alphas = scheduler().alphas_cumprod.to(device())
    # Items stand in this band of rows, and take up a sixth of the picture though half of the words are about them.
    weight = torch.ones(1, 1, latents.shape[-2], 1, device=device())
    weight[..., _BAND, :] = _BAND_WEIGHT
    weight /= weight.mean()

    def loss(model: Painter, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        tokens, clean, noise = draw(words, latents, scenes, batch, generator, EMPTIED)
        # Stratified timesteps, one from each of `batch` parts, which steadies the loss; more of the noisy ones, where
        # the words decide what the picture shows.
        share = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
        t = (share**_NOISIER * len(alphas)).long().clamp(max=len(alphas) - 1).to(device())
        a, s = alphas[t].sqrt().view(-1, 1, 1, 1), (1 - alphas[t]).sqrt().view(-1, 1, 1, 1)
        noisy = (a * clean + s * noise).contiguous(memory_format=torch.channels_last)
        error = (model(noisy, t, tokens).float() - (a * noise - s * clean)).square().mul(weight).mean(dim=(1, 2, 3))
        noisy_half = error.detach()[batch // 2 :].mean().item()
        return error.mean(), {"noisy_half": noisy_half}

    model.unet.to(memory_format=torch.channels_last)
    return fit("diffusion", model, loss, folder, steps=steps, rate=rate, seed=3, warmup=100, average=0.998)
