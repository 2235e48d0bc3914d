"""Autoencoders of all kinds: images to latents of about unit variance, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rnri_core import threads
from rnri_core.errors import RnriError
from torch import Tensor

from rnri.models.components import downloading, load_network
from rnri.models.loading import Loading
from rnri.models.networks import named_weights
from rnri.models.quiet import first_line, quiet

NOT_TINY = "is no tiny autoencoder such as madebyollin/taesd"


def factor(vae: Any) -> int:
    """Pixels in a latent element, along one side."""
    config = vae.config
    if "encoder_block_out_channels" in config:  # AutoencoderDC, AutoencoderTiny
        return int(2 ** (len(config.encoder_block_out_channels) - 1))
    return int(2 ** (len(config.block_out_channels) - 1))


def encode(vae: Any, image: Tensor) -> Tensor:
    """Images (B, 3, H, W) to latents: the mode of the posterior, no randomness; float32."""
    encoded = vae.encode(image.to(vae.dtype))
    if hasattr(encoded, "latent_dist"):
        latent = encoded.latent_dist.mode()
    else:
        latent = encoded.latents if hasattr(encoded, "latents") else encoded.latent
    mean, scale = _affine(vae, latent)
    output: Tensor = (latent.float() - mean) * scale
    return output


def decode(vae: Any, latent: Tensor) -> Tensor:
    """Latents to images, float32, as the decoder has them."""
    mean, scale = _affine(vae, latent)
    output: Tensor = vae.decode((latent / scale + mean).to(vae.dtype)).sample.float()
    return output


def _affine(vae: Any, latent: Tensor) -> tuple[Any, Any]:
    """(mean, scale): latents of unit variance are (what the encoder gives − mean) · scale."""
    config = vae.config
    if config.get("latents_mean") is not None and config.get("latents_std") is not None:
        mean, deviation = (torch.tensor(config[name]).view(1, -1, 1, 1) for name in ("latents_mean", "latents_std"))
        return mean.to(latent.device), config.scaling_factor / deviation.to(latent.device)
    return config.get("shift_factor") or 0.0, config.scaling_factor


def upcast_if_needed(vae: Any, *, where: torch.device) -> Any:
    """The autoencoder, or its copy in float32 where it is in float16 and its `force_upcast` is to be heeded.

    That is at a `sample_size` of 1024 or more (SDXL's). `force_upcast` is on by default, for smaller ones without need:
    they are copied when an image first overflows.
    """
    if vae.dtype == torch.float16 and vae.config.get("force_upcast") and vae.config.get("sample_size", 0) >= 1024:
        return in_float32(vae, where)
    return vae


def in_float32(vae: Any, where: torch.device) -> Any:
    """A copy in float32 of an autoencoder, which may be offloaded."""
    with threads.running(), torch.device("meta"), quiet():
        copy = type(vae).from_config(vae.config)
    state = {name: each.detach().float() for name, each in named_weights(vae)}
    copy.load_state_dict(state, assign=True)
    for name in ("use_tiling", "use_slicing"):
        setattr(copy, name, getattr(vae, name, False))
    return copy.to(where).requires_grad_(False).eval()


def load_preview(name: str, like: Any, device: torch.device, dtype: torch.dtype, loading: Loading) -> Any:
    """A tiny autoencoder (TAESD and its like) from a folder or the Hub, for the latents of the one it is `like`.

    Raises RnriError if there is none, the Hub does not give it, or its latents are others.
    """
    from diffusers import AutoencoderTiny

    folder = Path(name) if Path(name).is_dir() else _downloaded(name, loading)
    try:
        tiny, missing = load_network(
            AutoencoderTiny, folder, torch_dtype=dtype, use_safetensors=True, local_files_only=True
        )
        if missing:
            raise RnriError(f"its {missing[0]} is missing")
    except Exception as error:  # of the files
        raise RnriError(f"{name} {NOT_TINY} ({first_line(error)})") from error
    if tiny.config.latent_channels != like.config.latent_channels:
        raise RnriError(
            f"{name} reads latents of {tiny.config.latent_channels} channels, "
            f"and the model's have {like.config.latent_channels}",
            hint="use one that was made for this model",
        )
    return tiny.to(device)


def _downloaded(name: str, loading: Loading) -> Path:
    """The folder of an autoencoder on the Hub, downloaded if it is not in the cache yet."""
    from huggingface_hub import hf_hub_download

    with downloading(name, NOT_TINY):
        for file in ("config.json", "diffusion_pytorch_model.safetensors"):
            path = hf_hub_download(name, file, local_files_only=loading.local_files_only)
    return Path(path).parent
