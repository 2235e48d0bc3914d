"""Controls on rnri-core alone: an inversion and a denoiser, no model."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from rnri_core.controls.automatic_mask import AutomaticMask
from rnri_core.controls.base import Context, Control
from rnri_core.controls.given_mask import GivenMask
from rnri_core.controls.residual import Residual
from rnri_core.controls.sampling import default_controls, resample
from rnri_core.controls.start_step import StartStep
from rnri_core.inversion.inversion import Inversion
from rnri_core.inversion.presets import invert
from rnri_core.sampling.schedules import flow
from rnri_core.sampling.steps import Denoiser
from torch import Tensor

STEPS = flow([1.0, 0.75, 0.5, 0.25, 0.0], [1000, 750, 500, 250])
CLEAN = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def denoiser(change: float) -> Denoiser:
    """A network whose velocity leads to images that differ from the source's in the left half, by this much."""
    shift = torch.zeros(1, 4, 8, 8)
    shift[..., :4] = change
    return lambda z, t: 0.3 * z.tanh() - shift


SOURCE, TARGET = denoiser(0.0), denoiser(2.0)


@pytest.fixture(scope="module")
def source() -> Inversion:
    inversion: Inversion = invert(SOURCE, STEPS, CLEAN, "anderson", iterations=12, noise_maps=True)
    return inversion


def test_the_default_is_the_automatic_mask_where_there_are_noise_maps(source: Inversion) -> None:
    assert default_controls(source) == (AutomaticMask(),)
    bare = invert(SOURCE, STEPS, CLEAN, "anderson", iterations=12)
    assert default_controls(bare) == ()
    assert torch.equal(resample(TARGET, source).latents, resample(TARGET, source, [AutomaticMask()]).latents)
    assert torch.equal(resample(TARGET, bare).latents, resample(TARGET, bare, ()).latents)


def test_the_automatic_mask_keeps_the_half_that_does_not_change(source: Inversion) -> None:
    sampled = resample(TARGET, source, [AutomaticMask(dilate=0, blur=0.0)])
    assert torch.equal(sampled.latents[..., 4:], source.clean[..., 4:])
    assert (sampled.latents[..., :4] - source.clean[..., :4]).abs().min() > 0.5
    assert (sampled.nfe, sampled.first, sampled.masks) == (4, 0, ())


@pytest.mark.parametrize(("strength", "nfe"), [(0.0, 0), (0.25, 1), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_the_edit_starts_where_strength_puts_it(source: Inversion, strength: float, nfe: int) -> None:
    sampled = resample(TARGET, source, [StartStep(strength=strength)])
    assert (sampled.nfe, sampled.first) == (nfe, 4 - nfe)
    kept = zip(sampled.trajectory.latents, source.latents[: sampled.first + 1], strict=False)
    assert all(torch.equal(*pair) for pair in kept)
    assert torch.equal(sampled.latents, source.clean) is (strength == 0)


def test_outside_a_given_mask_the_source_is_kept_after_every_step(source: Inversion) -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :4, :] = 1
    sampled = resample(TARGET, source, [GivenMask(mask=mask, blur=0.0)])
    for z, own in zip(sampled.trajectory.latents, source.latents, strict=True):
        assert torch.equal(z[..., 2:, :], own[..., 2:, :])
    assert (sampled.latents - source.clean)[..., :2, :4].abs().min() > 0.5
    assert torch.equal(sampled.masks[0], mask)


def test_noise_maps_are_scaled(source: Inversion) -> None:
    assert source.noise_maps is not None
    z = source.noise
    for step, delta in zip(source.schedule, source.noise_maps, strict=True):
        z = step.denoise(TARGET, z) + 0.25 * delta
    assert torch.equal(resample(TARGET, source, [Residual(factor=0.25)]).latents, z)


@pytest.mark.parametrize("controls", ["auto", (), [StartStep(strength=0.5), GivenMask(mask=torch.ones(1, 1, 8, 8))]])
def test_several_edits_equal_one_by_one(source: Inversion, controls: list[Control[Context]]) -> None:
    def shifted(shifts: Tensor) -> Denoiser:
        return lambda z, t: 0.3 * z.tanh() - shifts

    shifts = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    together = resample(shifted(shifts), source, controls, count=2)
    for n in range(2):
        alone = resample(shifted(shifts[n : n + 1]), source, controls)
        assert torch.equal(together.latents[n : n + 1], alone.latents)
    assert together.nfe == 2 * alone.nfe


def test_guidance_takes_a_second_evaluation_and_leaves_the_mask(source: Inversion) -> None:
    """The inversion had none, so the mask compares predictions without it: the half that does not change is kept."""
    sampled = resample(TARGET, source, [AutomaticMask(dilate=0, blur=0.0)], negative=denoiser(-1.0), guidance=2.0)
    assert sampled.nfe == 8
    assert torch.equal(sampled.latents[..., 4:], source.clean[..., 4:])
    plain = resample(lambda z, t: TARGET(z, t) + (TARGET(z, t) - denoiser(-1.0)(z, t)), source, ())
    guided = resample(TARGET, source, (), negative=denoiser(-1.0), guidance=2.0)
    torch.testing.assert_close(guided.latents, plain.latents)


def test_no_package_beside_torch_is_imported() -> None:
    code = (
        "import sys, rnri_core.controls.sampling, rnri_core.controls.given_mask\n"
        "assert not {'rnri', 'diffusers', 'transformers', 'PIL'} & set(sys.modules), 'imports beyond torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
