"""A pipeline that the caller has: served whatever its scheduler, and found as it was left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
)
from rnri_core.inversion.inversion import sample

from rnri import models
from rnri.editing.editor import Editor
from rnri.models import schedulers
from rnri.models.loading import Loading
from tests import tiny, tiny_families
from tests.test_families import state

# diffusers' Euler schedulers, as numpy sees them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SOURCE, TARGET = "a red ball on sand", "a blue ball on sand"
PICTURE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize("control", ["masactrl", "prompt-to-prompt", "plug-and-play", "automatic-mask"])
def test_an_edit_leaves_a_pipe_as_it_was(control: str) -> None:
    pipe = tiny.pipeline()
    pipe.unet.train()  # as the caller has it
    pipe.enable_attention_slicing()
    before = state(pipe)
    editor = Editor.from_pipe(pipe)
    found = editor.invert(PICTURE, SOURCE, steps=2, inverter="gnri")
    editor.edit(found, TARGET, guidance=2.0, controls=[control])
    assert changed(before, state(pipe)) == set()


@pytest.mark.parametrize("name", ["ddim", "euler"])
@pytest.mark.parametrize("own", [PNDMScheduler, DPMSolverMultistepScheduler])
def test_a_scheduler_that_cannot_be_inverted_is_replaced_for_the_editor_alone(own: Any, name: str) -> None:
    options = dict(tiny.scheduler().config)
    pipe = tiny.pipeline(noise=own.from_config(options))
    with pytest.raises(ValueError, match=f"{own.__name__} cannot be inverted step by step: .* is scheduler ddim"):
        Editor.from_pipe(pipe)
    before = state(pipe)
    editor = Editor.from_pipe(pipe, scheduler=name)
    found = editor.invert(PICTURE, SOURCE, steps=3, inverter="fixed-point", iterations=20)
    editor.edit(found, TARGET)
    assert changed(before, state(pipe)) == set()
    expected = Editor.from_pipe(tiny.pipeline(), scheduler=name).schedule(found.noise, steps=3)
    assert [step.t for step in found.schedule] == [step.t for step in expected]


def test_what_is_not_known_is_refused() -> None:
    pipe = tiny.pipeline()
    with pytest.raises(ValueError, match="scheduler 'pndm' is not known: use ddim"):
        Editor.from_pipe(pipe, scheduler="pndm")
    with pytest.raises(ValueError, match="spacing 'even' is not known: use leading, trailing, linspace"):
        Editor.from_pipe(pipe, spacing="even")
    for own in (FlowMatchEulerDiscreteScheduler(), LCMScheduler()):
        with pytest.raises(ValueError, match=f"spacing 'trailing' does not fit {type(own).__name__}: leave it out"):
            schedulers.choose(own, None, "trailing")


def test_a_subclass_is_served_as_what_it_is() -> None:
    mine = type("Mine", (StableDiffusionPipeline,), {})
    pipe = mine(**tiny.pipeline().components, requires_safety_checker=False)
    assert models.from_pipe(pipe).fingerprint == models.from_pipe(tiny.pipeline()).fingerprint
    with pytest.raises(ValueError, match="no model family serves StableDiffusionImg2ImgPipeline: use one of"):
        models.from_pipe(type("StableDiffusionImg2ImgPipeline", (), {})())


@pytest.mark.parametrize("own", ["leading", "linspace"])
@pytest.mark.parametrize("name", [None, "ddim", "euler", "euler-ancestral"])
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_spaced_steps_are_those_of_the_pipeline_that_is_spaced_so(family: str, name: str | None, own: str) -> None:
    """As few-step LoRAs want it: SDXL's own scheduler starts below the noise that they were taught to start at."""
    pipe = tiny_families.build(family)
    pipe.scheduler = tiny.scheduler(timestep_spacing=own)
    model = models.from_pipe(pipe, scheduler=name, spacing="trailing")
    assert pipe.scheduler.config.timestep_spacing == own
    kind = type(model.scheduler)
    oracle = tiny_families.build(family)
    oracle.scheduler = kind.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = oracle(
        SOURCE,
        height=32,
        width=32,
        num_inference_steps=4,
        guidance_scale=1.0,
        latents=start,
        generator=torch.Generator().manual_seed(7),
        output_type="latent",
    ).images
    schedule = model.schedule(4, generator=torch.Generator().manual_seed(7), shape=(4, 8, 8))
    found = sample(model.denoiser(model.embed([SOURCE])), schedule, start * oracle.scheduler.init_noise_sigma)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert schedule[0].t == 999


@pytest.mark.parametrize("own", [PNDMScheduler, DDIMScheduler])
def test_settings_that_a_checkpoint_leaves_open_are_replaced_too(own: Any) -> None:
    found = schedulers.choose(own(), "ddim", "trailing").config
    assert (found.timestep_spacing, found.clip_sample, found.thresholding) == ("trailing", False, False)


def test_spacing_is_a_way_of_loading(tmp_path: Any) -> None:
    pipe = tiny.pipeline(noise=EulerDiscreteScheduler.from_config(tiny.scheduler().config, timestep_spacing="leading"))
    folder = tiny.save(pipe, tmp_path)
    leading, trailing = (
        models.load(str(folder), device="cpu", loading=Loading(spacing=each)) for each in (None, "trailing")
    )
    assert (leading.schedule(4)[0].t, trailing.schedule(4)[0].t) == (751, 999)
    assert (leading.defaults.steps, trailing.defaults.steps) == (30, 4)
