"""Pictures to latents: as the pipelines that start from pictures have them, and finite in float16."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from rnri import models
from tests import tiny_families

IMAGE = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
HERE = {"dtype": torch.float32, "device": torch.device("cpu"), "generator": None}


def of_sdxl(pipe: Any) -> Tensor:
    like = diffusers.StableDiffusionXLImg2ImgPipeline
    output: Tensor = like.prepare_latents(pipe, IMAGE, None, 2, 1, add_noise=False, **HERE)
    return output


def of_sana(pipe: Any) -> Tensor:
    """As Sana's few-step relative starts from a picture, at the angle where there is no noise."""
    scheduler = SimpleNamespace(config=SimpleNamespace(sigma_data=1.0))
    like = SimpleNamespace(vae=pipe.vae, vae_scale_factor=pipe.vae_scale_factor, scheduler=scheduler)
    output: Tensor = diffusers.SanaSprintImg2ImgPipeline.prepare_latents(
        like, IMAGE, torch.zeros(()), 2, 4, 32, 64, **HERE
    )
    return output


ORACLES: dict[str, Callable[[Any], Tensor]] = {
    "sdxl": of_sdxl,
    "sd3": lambda pipe: diffusers.StableDiffusion3InpaintPipeline._encode_vae_image(pipe, IMAGE, None),
    "flux-dev": lambda pipe: diffusers.FluxImg2ImgPipeline._encode_vae_image(pipe, IMAGE, None),
    "flux2-klein": lambda pipe: pipe._encode_vae_image(IMAGE, None),
    "sana": of_sana,
}


@pytest.fixture
def pipe(name: str) -> Any:
    """Its autoencoder is certain of every latent: what pipelines draw from the posterior is its mode."""
    built = tiny_families.build(name)
    if not isinstance(built.vae, diffusers.AutoencoderDC):
        weights = built.vae.quant_conv
        weights.weight.data.chunk(2)[1].zero_()
        weights.bias.data.chunk(2)[1].fill_(-30.0)  # log of the variance
    return built


def assert_as_oracle(name: str, pipe: Any) -> None:
    model = models.from_pipe(pipe)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        expected = ORACLES[name](pipe)
    found = model.encode(IMAGE)
    assert found.shape == (2, *model.latent_shape((32, 64)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ORACLES)
def test_encoding_is_that_of_the_pipelines_that_edit(name: str, pipe: Any) -> None:
    assert_as_oracle(name, pipe)


@pytest.mark.parametrize("name", ["sdxl"])
def test_so_are_statistics_of_each_channel(name: str, pipe: Any) -> None:
    plain = models.from_pipe(pipe).encode(IMAGE)
    pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.5, 2.0, 1.0])
    assert_as_oracle(name, pipe)
    assert not torch.allclose(plain, models.from_pipe(pipe).encode(IMAGE), atol=0.01)


@pytest.mark.parametrize("name", ["sd", "flux2-klein"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_one_that_overflows_without_saying_so_is_caught(name: str, part: str) -> None:
    pipe = tiny_families.build(name).to(torch.float16)
    getattr(pipe.vae, part).conv_in.weight.data.fill_(6e4)
    model: Any = models.from_pipe(pipe)
    if part == "encoder":
        given, at_once, watched = torch.full((1, 3, 32, 32), 0.9), model._encode, model.encode
    else:
        given, at_once, watched = torch.full((1, *model.latent_shape((32, 32))), 64.0), model._decode, model.decode
    with torch.no_grad():
        assert not at_once(pipe.vae, given).isfinite().all()
    small = given / 1e6
    before, found, after = watched(small), watched(given), watched(small)
    assert found.isfinite().all()
    assert torch.equal(before, after)  # what overflowed changes nothing for what does not
    assert (model.vae.dtype, pipe.vae.dtype) == (torch.float16, torch.float16)
