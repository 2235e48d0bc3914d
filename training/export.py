"""Stage 5: the checkpoints in the standard diffusers folder layout, float16 safetensors."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from rnri.models.defaults import Defaults
from training import autoencoder, diffusion, tokenizer
from training.diffusion import Painter, scheduler

PROGRESS = Path(__file__).parent / "progress"
"""Networks in float16 that are trained further than those that are shipped, but not yet shipped."""


def shipped(folder: Path) -> tuple[AutoencoderTiny, Painter]:
    """The networks of a checkpoint in float32, to train on."""
    vae = AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    return vae, Painter(text, unet)


def widened(vae: AutoencoderTiny, painter: Painter) -> tuple[AutoencoderTiny, Painter]:
    """The networks with the latent channels of this recipe, which start as those with fewer."""
    if vae.config.latent_channels == autoencoder.LATENT_CHANNELS:
        return vae, painter
    return autoencoder.widened(vae), Painter(painter.text, diffusion.widened(painter.unet))


def in_progress(folder: Path = PROGRESS) -> AutoencoderTiny | None:
    """The autoencoder of a run that is to go on, in float32; ``None`` where there is none."""
    if not (folder / "vae" / "config.json").is_file():
        return None
    return AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32)


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
    make_plain(fresh)
    tokenizer.build(fresh / "tokenizer")
    settings.write(fresh)
    card = folder / "README.md"
    if card.exists():
        shutil.copy(card, fresh / "README.md")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def make_plain(folder: Path) -> None:
    """Rewrite the configurations of a saved pipeline so that diffusers and transformers take them as they are.

    The text encoder's ``dtype`` becomes float32, which is what the other parts load in; transformers obeys it. The
    autoencoder gets the ``sample_size`` that pipelines made for AutoencoderKL read, and loses a key that
    AutoencoderTiny sets by itself. Its configuration bears the name of AutoencoderKL, whose keys diffusers passes over
    silently where the pipeline's index names another class to load; of any other it warns.
    """
    unet = json.loads((folder / "unet" / "config.json").read_text())
    text = json.loads((folder / "text_encoder" / "config.json").read_text())
    vae = json.loads((folder / "vae" / "config.json").read_text())
    text.pop("torch_dtype", None)
    text["dtype"] = "float32"
    factor = 2 ** (len(vae["encoder_block_out_channels"]) - 1)
    vae.pop("block_out_channels", None)
    vae |= {"_class_name": "AutoencoderKL", "sample_size": factor * unet["sample_size"]}
    for part, config in (("text_encoder", text), ("vae", vae)):
        (folder / part / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
