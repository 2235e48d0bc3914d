"""The gigabytes that families state are those of their first checkpoint, counted without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import diffusers
import pytest
import torch
import transformers

from rnri.evaluation.architectures import ARCHITECTURES
from rnri.models import MODELS, serving

Made = tuple[str, Mapping[str, Any]]

CLIP = {"vocab_size": 49408, "max_position_embeddings": 77}
CLIP_L: Made = (
    "CLIPTextModel",
    {**CLIP, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
)
CLIP_L_PROJECTED: Made = ("CLIPTextModelWithProjection", {**CLIP_L[1], "projection_dim": 768})
CLIP_G: Made = (
    "CLIPTextModelWithProjection",
    {
        **CLIP,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
    },
)
T5 = {"vocab_size": 32128, "d_kv": 64, "num_layers": 24, "feed_forward_proj": "gated-gelu"}
T5_XXL: Made = ("T5EncoderModel", {**T5, "d_model": 4096, "d_ff": 10240, "num_heads": 64})
PILE_T5_XL: Made = ("UMT5EncoderModel", {**T5, "d_model": 2048, "d_ff": 5120, "num_heads": 32})
GEMMA_2B: Made = (
    "Gemma2Model",
    {
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
    },
)
QWEN_4B: Made = (
    "Qwen3Model",
    {
        "vocab_size": 151936,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
)
DC_BLOCKS = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
DC_WIDTHS = (128, 256, 512, 512, 1024, 1024)
DC_SCALES = ((), (), (), (5,), (5,), (5,))
DC: Made = (
    "AutoencoderDC",
    {
        "encoder_block_types": DC_BLOCKS,
        "decoder_block_types": DC_BLOCKS,
        "encoder_block_out_channels": DC_WIDTHS,
        "decoder_block_out_channels": DC_WIDTHS,
        "encoder_qkv_multiscales": DC_SCALES,
        "decoder_qkv_multiscales": DC_SCALES,
        "encoder_layers_per_block": (2, 2, 2, 3, 3, 3),
        "upsample_block_type": "interpolate",
        "downsample_block_type": "Conv",
    },
)
OWN = {name: (each.network, each.vae) for name, each in ARCHITECTURES.items()}
KL, KL_16 = OWN["sd15"][1], OWN["flux"][1]
UNET: Made = (OWN["sd15"][0][0], {**OWN["sd15"][0][1], "time_cond_proj_dim": 256})
MEDIUM: Made = (
    OWN["sd3"][0][0],
    {
        **OWN["sd3"][0][1],
        "pos_embed_max_size": 384,
        "dual_attention_layers": tuple(range(13)),
        "qk_norm": "rms_norm",
    },
)
KLEIN: Made = (
    "Flux2Transformer2DModel",
    {
        "num_layers": 5,
        "num_single_layers": 20,
        "num_attention_heads": 24,
        "joint_attention_dim": 7680,
        "guidance_embeds": False,
    },
)
PIXART: Made = ("PixArtTransformer2DModel", {"sample_size": 128, "num_layers": 28, "caption_channels": 4096})
LUMINA: Made = ("Lumina2Transformer2DModel", {"cap_feat_dim": 2304})

PUBLISHED: dict[str, tuple[Made, ...]] = {
    "StableDiffusionPipeline": (*OWN["sd15"], CLIP_L),
    "StableDiffusionXLPipeline": (*OWN["sdxl"], CLIP_L, CLIP_G),
    "LatentConsistencyModelPipeline": (UNET, KL, CLIP_L),
    "StableDiffusion3Pipeline": (MEDIUM, KL_16, CLIP_L_PROJECTED, CLIP_G, T5_XXL),
    "FluxPipeline": (*OWN["flux"], CLIP_L, T5_XXL),
    "Flux2KleinPipeline": (KLEIN, ("AutoencoderKLFlux2", {}), QWEN_4B),
    "PixArtAlphaPipeline": (PIXART, KL, T5_XXL),
    "PixArtSigmaPipeline": ((PIXART[0], {**PIXART[1], "use_additional_conditions": False}), KL, T5_XXL),
    "SanaPipeline": (("SanaTransformer2DModel", {}), DC, GEMMA_2B),
    "Lumina2Pipeline": (LUMINA, KL_16, GEMMA_2B),
    "AuraFlowPipeline": (("AuraFlowTransformer2DModel", {"pos_embed_max_size": 9216}), KL, PILE_T5_XL),
    "ZImagePipeline": (("ZImageTransformer2DModel", {}), KL_16, QWEN_4B),
}
"""Network, autoencoder and text encoders of the first checkpoint that each family names, as their configs have them."""


def count(kind: str, settings: Mapping[str, Any]) -> int:
    """Numbers that a part keeps in memory: its parameters, and tables that are saved with them; each once."""
    with torch.device("meta"):
        if hasattr(diffusers, kind):
            part = getattr(diffusers, kind)(**settings)
        else:
            made = getattr(transformers, kind)
            part = made(made.config_class(**settings))
    saved = part.state_dict(keep_vars=True)
    kept = {
        id(each): each
        for each in [*part.parameters(), *(saved[name] for name, _ in part.named_buffers() if name in saved)]
    }
    return sum(each.numel() for each in kept.values())


@pytest.mark.parametrize("pipeline", MODELS)
def test_gigabytes_are_those_of_the_first_checkpoint(pipeline: str) -> None:
    assert pipeline in PUBLISHED, f"add the classes and settings of {pipeline}'s first example to PUBLISHED above"
    numbers = sum(count(kind, settings) for kind, settings in PUBLISHED[pipeline])
    counted = 2 * numbers / 1e9
    assert serving(pipeline).gigabytes == pytest.approx(counted, abs=0.05), f"declare gigabytes = {counted:.1f}"
