"""Real components at tiny size: random weights, the standard folder layout, a tokenizer that knows a few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.tokenizer import vocabulary

WORDS = ["a", "ball", "blue", "cube", "green", "left", "metal", "on", "red", "right", "sand", "small", "the"]
LENGTH = 12  # tokens, begin and end included
SIDE = 32  # of the image, in pixels
FACTOR = 4  # pixels in a latent element, along one side


def scheduler(prediction_type: str = "epsilon", **changes: Any) -> DDIMScheduler:
    """DDIM as Stable Diffusion configures it, with what is to be different."""
    options = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "trailing",
    }
    return DDIMScheduler(**{**options, "prediction_type": prediction_type, **changes})


def pipeline(
    *, vae: Literal["kl", "tiny"] = "kl", noise: SchedulerMixin | None = None, seed: int = 0
) -> StableDiffusionPipeline:
    """A text-to-image pipeline of some 200,000 parameters. Leaves the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ids, merges = vocabulary(WORDS)
        tokenizer = CLIPTokenizer(vocab=ids, merges=merges, model_max_length=LENGTH)
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        unet = UNet2DConditionModel(
            sample_size=SIDE // FACTOR,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=8,
            norm_num_groups=8,
        )
        unet.conv_out.weight.data.mul_(0.1)  # a small Jacobian: the equations have one root, and solvers find it
        for name, weight in unet.named_parameters():
            if "attn2.to_out" in name:
                weight.data.mul_(10.0)  # prompts make a difference
        scale = 8.0  # brings the latents of noise to about unit variance
        autoencoder: AutoencoderKL | AutoencoderTiny
        if vae == "kl":
            autoencoder = AutoencoderKL(
                block_out_channels=(8, 16, 16),
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                latent_channels=4,
                norm_num_groups=4,
                scaling_factor=scale,
            )
        else:
            autoencoder = AutoencoderTiny(
                encoder_block_out_channels=(8, 8, 8),
                decoder_block_out_channels=(8, 8, 8),
                num_encoder_blocks=(1, 1, 1),
                num_decoder_blocks=(1, 1, 1),
                scaling_factor=scale,
            )
        return StableDiffusionPipeline(
            vae=autoencoder.eval(),
            text_encoder=CLIPTextModel(text).eval(),
            tokenizer=tokenizer,
            unet=unet.eval(),
            scheduler=noise or scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def save(pipe: StableDiffusionPipeline, folder: Path) -> Path:
    """The pipeline in the standard layout, with the list of the words its tokenizer knows."""
    pipe.save_pretrained(folder)
    (folder / "tokenizer" / "words.json").write_text(json.dumps(WORDS))
    return folder
