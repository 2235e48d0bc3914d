"""Stage 1: the autoencoder, 128x128x3 pixels to 16x16x16 latents and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from training import cache
from training.loop import autocast, device, fit

LATENT_CHANNELS = 16
WIDTH = 48
_EDGE_WEIGHT = 4.0
_HUE_WEIGHT = 1.0
_SQUARE_WEIGHT = 12.0
_NOISE = 0.02
"""Standard deviation of the noise on latents in training: neighbouring latents must mean neighbouring pictures."""
_SIZE_WEIGHT = 1e-3
"""Weight of the latents' mean square, which keeps them small against the decoder's clamp at ±3."""


def new() -> AutoencoderTiny:
    """An untrained autoencoder, the same at every call.

    It has no normalisation, and most of its depth where pictures are small and convolutions cheap.
    """
    torch.manual_seed(1)
    return AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4,
        decoder_block_out_channels=(WIDTH,) * 4,
        num_encoder_blocks=(0, 1, 2, 4),
        num_decoder_blocks=(5, 3, 1, 0),
        latent_channels=LATENT_CHANNELS,
    )


def widened(old: AutoencoderTiny) -> AutoencoderTiny:
    """An autoencoder of ``LATENT_CHANNELS`` that starts as ``old``, with fewer: its decoder ignores the new ones."""
    model = new()
    weights = model.state_dict()
    for name, weight in old.state_dict().items():
        if weight.shape == weights[name].shape:
            weights[name] = weight
        elif weight.ndim == 4 and weight.shape[0] == weights[name].shape[0]:
            weights[name].zero_()[:, : weight.shape[1]] = weight
        else:
            weights[name][: len(weight)] = weight
    model.load_state_dict(weights)
    return model


def pixels(images: np.ndarray) -> Tensor:
    """uint8 ``(B, H, W, 3)`` to float32 ``(B, 3, H, W)`` in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).to(device(), non_blocking=True)
    return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def _edges(x: Tensor) -> Tensor:
    """Where the picture changes: gradient magnitude, 0 to 1, shape ``(B, 1, H, W)``."""
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    dx, dy = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return (dx.square() + dy.square()).sum(1, keepdim=True).sqrt().clamp(max=1.0)


def train(
    model: AutoencoderTiny,
    folder: Path,
    *,
    steps: int,
    batch: int = 8,
    rate: float = 1e-3,
    minutes: float | None = None,
    decay: float = 0.1,
    compiled: bool = False,
) -> AutoencoderTiny:
    """Train on rendered scenes and their mirror images; small things count by weighting edges."""
    images, _, keep = cache.load(folder)
    built = torch.compile if compiled else lambda function: function
    encode, decode = built(lambda x: model.encode(x).latents), built(lambda z: model.decode(z).sample)

    def loss(model: AutoencoderTiny, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = keep[torch.randint(len(keep), (batch,), generator=generator).numpy()]
        x = pixels(images[index])
        if torch.rand((), generator=generator) < 0.5:
            x = x.flip(-1)
        x = x.contiguous(memory_format=torch.channels_last)
        z = encode(x)
        noise = torch.randn(z.shape, generator=generator).to(z)
        error = decode(z + _NOISE * noise) - x
        # Most of a picture's energy is grey, and a loss on RGB alone learns hues last.
        hue = error - error.mean(1, keepdim=True)
        wrong = error.abs() + _SQUARE_WEIGHT * error.square() + _HUE_WEIGHT * hue.abs()
        weighted = (wrong * (1 + _EDGE_WEIGHT * _edges(x))).mean()
        size = z.square().mean()
        psnr = -10 * (error.detach().square().mean() / 4).log10()
        return weighted + _SIZE_WEIGHT * size, {"latent_variance": size.item(), "psnr_db": psnr.item()}

    model.to(memory_format=torch.channels_last)
    trained = fit("autoencoder", model, loss, folder, steps=steps, rate=rate, seed=1, minutes=minutes, decay=decay)
    trained.register_to_config(scaling_factor=1 / _spread(trained, images, keep))
    return trained


@torch.no_grad()
def encode(model: AutoencoderTiny, images: np.ndarray) -> Tensor:
    """Scaled latents ``(B, 16, 16, 16)`` of uint8 pictures, on the CPU."""
    with autocast():
        z = model.encode(pixels(images).contiguous(memory_format=torch.channels_last)).latents
    output: Tensor = (z.float() * model.config.scaling_factor).cpu()
    return output


def _spread(model: AutoencoderTiny, images: np.ndarray, keep: np.ndarray) -> float:
    """Standard deviation of the latents over a thousand pictures."""
    model.register_to_config(scaling_factor=1.0)
    return float(torch.cat([encode(model, images[part]) for part in np.array_split(keep[:1000], 20)]).std())


def cached_latents(model: AutoencoderTiny, folder: Path) -> Tensor:
    """Scaled latents of every training picture, float16 ``(N, 16, 16, 16)``, computed once."""
    images, _, keep = cache.load(folder)
    path = folder / "latents.pt"
    if path.exists():
        latents: Tensor = torch.load(path, weights_only=True)
        if len(latents) == len(keep):
            return latents
    latents = torch.cat([encode(model, images[part]).half() for part in np.array_split(keep, len(keep) // 64 + 1)])
    torch.save(latents, path)
    return latents
