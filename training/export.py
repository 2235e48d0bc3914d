"""Stage 5: the checkpoints in the standard diffusers folder layout, float16 safetensors."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from rnri.models.base import Defaults
from training import tokenizer
from training.diffusion import Painter, scheduler


def shipped(folder: Path) -> tuple[AutoencoderTiny, Painter]:
    """The networks of a checkpoint in float32, to train on."""
    vae = AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    return vae, Painter(text, unet)


def export(vae: AutoencoderTiny, painter: Painter, words: CLIPTokenizer, folder: Path, *, settings: Defaults) -> None:
    """Write a pipeline that ``StableDiffusionPipeline.from_pretrained(folder)`` loads, replacing what is there.

    ``settings`` are what the checkpoint is best used with, kept in ``rnri.json``.
    """
    half = [copy.deepcopy(part).to("cpu", torch.float16) for part in (vae, painter.text, painter.unet)]
    for part in (half[0], half[2]):
        part.register_to_config(_name_or_path="")  # where it was loaded from is nobody's business
    pipeline = StableDiffusionPipeline(
        vae=half[0],
        text_encoder=half[1],
        tokenizer=words,
        unet=half[2],
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.save_pretrained(fresh)
    tokenizer.build(fresh / "tokenizer")
    settings.write(fresh)
    card = folder / "README.md"
    if card.exists():
        shutil.copy(card, fresh / "README.md")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
