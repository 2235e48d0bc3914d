"""The embedded checkpoints in diffusers alone: they load quietly, draw what rnri draws, and are what is exported."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, AutoModel, StableDiffusionPipeline
from transformers import CLIPTokenizer

from rnri.editing.editor import Editor
from rnri.models import EMBEDDED, Defaults, embedded
from training.export import export, shipped

PROMPT = "a large red metal ball on the left, on sand, by day"
KNOWN = "Expected types for vae: (<class 'diffusers.models.autoencoders.autoencoder_kl.AutoencoderKL'>,)"
"""Of any StableDiffusionPipeline with an AutoencoderTiny: its annotation names no other class."""


class Heard(logging.Handler):
    """Keeps what is logged from WARNING up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def plain(folder: Path, **told: Any) -> tuple[Any, list[str]]:
    """The picture that a folder's pipeline draws in diffusers, warnings being errors, and what was logged of it."""
    heard, loggers = Heard(), [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for logger in loggers:
        logger.addHandler(heard)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pipe = StableDiffusionPipeline.from_pretrained(folder)
            pipe.set_progress_bar_config(disable=True)
            picture = pipe(PROMPT, num_inference_steps=2, **told).images[0]
    finally:
        for logger in loggers:
            logger.removeHandler(heard)
    return picture, heard.messages


@pytest.mark.parametrize("name", EMBEDDED)
def test_diffusers_draws_what_is_drawn_here(name: str) -> None:
    editor, seed = Editor.from_pretrained(name, device="cpu"), torch.Generator().manual_seed(0)
    guidance, shape = editor.model.defaults.guidance, editor.model.latent_shape(editor.model.image_size)
    noise = torch.randn(1, *shape, generator=seed)
    theirs, remarks = plain(embedded(name), guidance_scale=guidance, latents=noise)
    assert [each for each in remarks if not each.startswith(KNOWN)] == []
    ours = editor.generate(PROMPT, steps=2, guidance=guidance, seed=0)
    assert np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).max() <= 1


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_autoencoder_says_what_pipelines_ask_of_one(name: str) -> None:
    """Pipelines made for AutoencoderKL read the side of its pictures, and how many blocks it has."""
    vae = AutoModel.from_pretrained(str(embedded(name)), subfolder="vae")
    assert isinstance(vae, AutoencoderTiny)
    picture = torch.zeros(1, 3, vae.config.sample_size, vae.config.sample_size)
    with torch.no_grad():
        side = vae.encode(picture).latents.shape[-1]
    model = Editor.from_pretrained(name, device="cpu").model
    assert model.latent_shape(model.image_size)[1:] == (side, side)
    assert vae.config.sample_size // side == 2 ** (len(vae.config.block_out_channels) - 1)


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_is_shipped_is_what_is_exported(name: str, tmp_path: Path) -> None:
    """Every file of the recipe's last stage, to the byte, from the networks that training would go on with."""
    source, folder = embedded(name), tmp_path / name
    vae, painter = shipped(source)
    settings = Defaults.read(source)
    assert settings is not None
    export(vae, painter, CLIPTokenizer.from_pretrained(source / "tokenizer"), folder, settings=settings)
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert made | {"README.md"} == {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    different = {each for each in made if (folder / each).read_bytes() != (source / each).read_bytes()}
    assert different == set()
