"""Published architectures at full size, built with random weights: time and memory do not depend on the values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from rnri_core.threads import loading as loads

from rnri.models import Condition, ModelAdapter, component, from_components
from rnri.models.loading import Loading


@dataclass(frozen=True)
class Architecture:
    """Components of a model: classes of diffusers with their settings, and shapes of embedded prompts.

    Attributes:
        pipeline: class of the pipeline.
        checkpoint: one on the Hub that has this architecture.
        network, vae, scheduler: (class, settings).
        tokens, more: shapes of the embedding of one prompt.
        image: (height, width) in pixels.
    """

    pipeline: str
    checkpoint: str
    network: tuple[str, Mapping[str, Any]]
    vae: tuple[str, Mapping[str, Any]]
    scheduler: tuple[str, Mapping[str, Any]]
    tokens: tuple[int, ...]
    more: Mapping[str, tuple[int, ...]]
    image: tuple[int, int] = (512, 512)

    def build(self, device: torch.device, dtype: torch.dtype, loading: Loading | None = None) -> ModelAdapter:
        """The model with random weights and no text encoders; the global random state is left alone.

        Raises RnriError for options of `loading` that concern files: there are none.
        """
        where = device if loading is None or loading.offload == "none" else torch.device("cpu")
        with loads(), _default_dtype(dtype), torch.random.fork_rng(), where, torch.no_grad():
            torch.manual_seed(0)
            components = {name: component(*made) for name, made in (("network", self.network), ("vae", self.vae))}
        return from_components(
            self.pipeline, **components, scheduler=component(*self.scheduler), device=device, loading=loading
        )

    def condition(self) -> Condition:
        """A random embedding of one prompt."""
        generator = torch.Generator().manual_seed(0)
        more = {name: torch.randn(1, *shape, generator=generator) for name, shape in self.more.items()}
        return Condition(("",), torch.randn(1, *self.tokens, generator=generator), more)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_KL = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
_KL_16 = {
    **_KL,
    "latent_channels": 16,
    "shift_factor": 0.1159,
    "scaling_factor": 0.3611,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}

ARCHITECTURES: dict[str, Architecture] = {
    "sd15": Architecture(
        "StableDiffusionPipeline",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        ("UNet2DConditionModel", {"sample_size": 64, "cross_attention_dim": 768}),
        ("AutoencoderKL", _KL),
        ("DDIMScheduler", {**_BETAS, "clip_sample": False, "timestep_spacing": "trailing"}),
        (77, 768),
        {},
    ),
    "sdxl": Architecture(
        "StableDiffusionXLPipeline",
        "stabilityai/sdxl-turbo",
        (
            "UNet2DConditionModel",
            {
                "sample_size": 64,
                "block_out_channels": (320, 640, 1280),
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                "attention_head_dim": (5, 10, 20),
                "transformer_layers_per_block": (1, 2, 10),
                "cross_attention_dim": 2048,
                "use_linear_projection": True,
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
        ),
        ("AutoencoderKL", {**_KL, "scaling_factor": 0.13025, "sample_size": 1024}),
        ("EulerDiscreteScheduler", {**_BETAS, "timestep_spacing": "trailing"}),
        (77, 2048),
        {"pooled": (1280,)},
    ),
    "sd3": Architecture(
        "StableDiffusion3Pipeline",
        "stabilityai/stable-diffusion-3-medium-diffusers",
        (
            "SD3Transformer2DModel",
            {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 192},
        ),
        ("AutoencoderKL", {**_KL_16, "scaling_factor": 1.5305, "shift_factor": 0.0609}),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
        (333, 4096),
        {"pooled": (2048,)},
    ),
    "flux": Architecture(
        "FluxPipeline",
        "black-forest-labs/FLUX.1-schnell",
        ("FluxTransformer2DModel", {}),
        ("AutoencoderKL", _KL_16),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 1.0}),
        (256, 4096),
        {"pooled": (768,)},
    ),
}
"""Architectures by name."""
