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
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, ViTConfig, ViTModel

from rnri.metrics.lpips import Lpips
from rnri.metrics.weights import FILES
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


def clip_tokenizer() -> CLIPTokenizer:
    """One that knows a few words."""
    ids, merges = vocabulary(WORDS)
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=LENGTH)


def clip(tokenizer: CLIPTokenizer, kind: Any = CLIPTextModel) -> Any:
    """A text encoder of width 16, with or without a projection."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return kind(text).eval()


def unet(**changes: Any) -> UNet2DConditionModel:
    """A contraction that listens to its prompt."""
    options: dict[str, Any] = {
        "sample_size": SIDE // FACTOR,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    network = UNet2DConditionModel(**{**options, **changes})
    network.conv_out.weight.data.mul_(0.1)  # a small Jacobian: the equations have one root, and solvers find it
    for name, weight in network.named_parameters():
        if "attn2.to_out" in name:
            weight.data.mul_(10.0)  # prompts make a difference
    return network.eval()


def autoencoder(
    kind: Literal["kl", "tiny"] = "kl", *, downs: int = 2, **changes: Any
) -> AutoencoderKL | AutoencoderTiny:
    """One of 4 channels that makes an image smaller this many times."""
    scale = 8.0  # brings the latents of noise to about unit variance
    if kind == "kl":
        options: dict[str, Any] = {
            "block_out_channels": (8, *[16] * downs),
            "down_block_types": ("DownEncoderBlock2D",) * (downs + 1),
            "up_block_types": ("UpDecoderBlock2D",) * (downs + 1),
            "latent_channels": 4,
            "norm_num_groups": 4,
            "scaling_factor": scale,
        }
        return AutoencoderKL(**{**options, **changes}).eval()
    return AutoencoderTiny(
        encoder_block_out_channels=(8,) * (downs + 1),
        decoder_block_out_channels=(8,) * (downs + 1),
        num_encoder_blocks=(1,) * (downs + 1),
        num_decoder_blocks=(1,) * (downs + 1),
        scaling_factor=scale,
    ).eval()


def pipeline(
    *, vae: Literal["kl", "tiny"] = "kl", noise: SchedulerMixin | None = None, seed: int = 0
) -> StableDiffusionPipeline:
    """A text-to-image pipeline of some 200,000 parameters. Leaves the global random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = clip_tokenizer()
        return StableDiffusionPipeline(
            text_encoder=clip(tokenizer),
            tokenizer=tokenizer,
            unet=unet(),
            vae=autoencoder(vae),
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


def judges(folder: Path, *, seed: int = 0) -> Path:
    """What metrics look through, in the published layouts: `clip`, `dino` and, for both trunks, `lpips`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = clip_tokenizer()
        small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        text = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, **ends, **small}
        vision = {"image_size": SIDE, "patch_size": 8, **small}
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder / "clip")
        tokenizer.save_pretrained(folder / "clip")
        vit = ViTConfig(image_size=SIDE, patch_size=8, **{**small, "hidden_size": 24, "num_attention_heads": 3})
        ViTModel(vit, add_pooling_layer=False).save_pretrained(folder / "dino")
        (folder / "lpips").mkdir()
        for name, network in (("lpips-squeeze", Lpips("squeeze")), ("lpips-alex", Lpips("alex"))):
            features, heads = (folder / "lpips" / each.name for each in FILES[name])
            torch.save({f"features.{key}": each for key, each in network.trunk.state_dict().items()}, features)
            torch.save({f"lin{n}.model.1.weight": torch.rand_like(each) for n, each in enumerate(network.heads)}, heads)
    return folder
