"""Every family against its own pipeline, on tiny components of the real classes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rnri_core.inversion.inversion import sample
from rnri_core.inversion.presets import invert
from rnri_core.sampling.steps import Denoiser
from rnri_core.solvers import solver
from torch import Tensor

from rnri import Status, models
from rnri.editing import edit as editing
from rnri.editing.editor import Editor
from rnri.models import ModelAdapter
from tests import tiny_families
from tests.tiny_families import CASES, Case

PROMPTS = ["a red ball on the left", "a blue cube on sand"]
STEPS = 3
# a few network calls in another batch and order: 1e-6 each, times the growth
FLOAT32: dict[str, Any] = {"rtol": 1e-3, "atol": 2e-4}


@pytest.fixture(autouse=True)
def global_state_untouched() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module", params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture(scope="module")
def pipe(name: str) -> Any:
    return tiny_families.build(name)


@pytest.fixture(scope="module")
def model(pipe: Any) -> ModelAdapter:
    return models.from_pipe(pipe)


def size(model: ModelAdapter) -> tuple[int, int]:
    """Not square; what Sana's pipeline takes too."""
    return (32, 64) if model.multiple < 4 else (4 * model.multiple, 6 * model.multiple)


def noise(model: ModelAdapter, count: int = len(PROMPTS)) -> Tensor:
    return torch.randn(count, *model.latent_shape(size(model)), generator=torch.Generator().manual_seed(0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def bound(model: ModelAdapter, case: Case, prompts: list[str] = PROMPTS, *, guided: bool = False) -> Denoiser:
    if not guided or model.guidance == "none":
        return editing.bound(model, prompts)
    return editing.bound(model, prompts, case.guidance, case.negative or None)


@pytest.mark.parametrize("guided", [False, True])
def test_images_are_those_of_the_pipeline(case: Case, pipe: Any, model: ModelAdapter, guided: bool) -> None:
    assert_same_as_pipeline(case, pipe, model, guided=guided)


def assert_same_as_pipeline(case: Case, pipe: Any, model: ModelAdapter, *, guided: bool) -> None:
    noisy = type(model.scheduler).__name__ in ("LCMScheduler", "EulerAncestralDiscreteScheduler")
    prompts = PROMPTS[:1] if noisy else PROMPTS  # whose noise would be each its own
    start, (height, width) = noise(model, len(prompts)), size(model)
    told = case.guided if guided else case.plain
    if guided and case.negative:
        told = {**told, "negative_prompt": [case.negative] * len(prompts)}
    asked = list(prompts)  # Z-Image's pipeline writes into the list
    expected = copy.copy(pipe)(
        prompt=asked,
        height=height,
        width=width,
        num_inference_steps=STEPS,
        latents=case.pack(pipe, start),
        generator=generator(),
        output_type="pt",
        **told,
    ).images
    schedule = model.schedule(STEPS, generator=generator(), shape=model.latent_shape((height, width)))
    denoiser = bound(model, case, prompts, guided=guided)
    deviation = getattr(pipe.scheduler, "init_noise_sigma", 1.0)
    found = model.decode(sample(denoiser, schedule, start * deviation))
    assert found.shape == (len(prompts), 3, height, width)
    torch.testing.assert_close(found, expected * 2 - 1, **FLOAT32)


@pytest.mark.parametrize("guided", [False, True])
def test_what_is_inverted_is_sampled_again(case: Case, model: ModelAdapter, guided: bool) -> None:
    loses = type(model.scheduler).__name__ == "LCMScheduler"  # steps throw nearly all of the latent away
    denoiser, shape = bound(model, case, guided=guided), model.latent_shape(size(model))
    schedule = model.schedule(STEPS, generator=generator(), shape=shape)
    clean = sample(denoiser, schedule, noise(model))
    for name in ("fixed-point", "anderson"):
        found = invert(
            denoiser, schedule, clean, solver(name), iterations=4 if loses else 40, tol=1e-5, noise_maps=loses
        )
        assert loses or {status for each in found.solutions for status in each.status} == {Status.CONVERGED}
        again = sample(denoiser, schedule, found.noise, noise_maps=found.noise_maps)
        assert ((again - clean).norm() / clean.norm()).item() < 1e-4


def test_a_batch_equals_one_by_one_and_one_prompt_serves_all(case: Case, model: ModelAdapter) -> None:
    z = noise(model)
    together = model.denoiser(model.embed(PROMPTS), case.guidance)(z, 499.0)
    for n, prompt in enumerate(PROMPTS):
        alone = model.denoiser(model.embed([prompt]), case.guidance)
        torch.testing.assert_close(together[n : n + 1], alone(z[n : n + 1], 499.0), **FLOAT32)
        torch.testing.assert_close(together[n : n + 1], alone(z, 499.0)[n : n + 1], **FLOAT32)
    assert not torch.allclose(together[:1], model.denoiser(model.embed(PROMPTS[1:]), case.guidance)(z[:1], 499.0))


def test_guidance_is_refused_where_there_is_none(case: Case, model: ModelAdapter) -> None:
    picture = torch.zeros(1, 3, *size(model))
    editor = Editor(model)
    if model.guidance == "none":
        with pytest.raises(ValueError, match=r"guidance=3.0 is not to be had: .* is distilled; leave it at 1"):
            editor.invert(picture, PROMPTS[0], guidance=3.0, steps=1)
    if model.guidance == "embedded":
        plain, harder = (editor.invert(picture, PROMPTS[0], guidance=g, steps=1, iterations=1) for g in (1.0, 3.0))
        assert not torch.equal(plain.noise, harder.noise)
        with pytest.raises(ValueError, match="takes no negative prompt: leave 'sand' out"):
            editor.edit(plain, PROMPTS[1], guidance=3.0, negative="sand")


@pytest.mark.filterwarnings("ignore:.*is longer than:rnri.models.PromptWarning")
def test_a_folder_is_what_its_pipeline_is_in_any_precision(pipe: Any, model: ModelAdapter, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    z = noise(model, 1)
    full = models.load(str(tmp_path), device="cpu")
    assert full.fingerprint == model.fingerprint
    assert full.image_size == model.image_size
    outputs = [each.denoiser(each.embed(PROMPTS[:1]))(z, 499.0) for each in (full, model)]
    torch.testing.assert_close(*outputs)  # not to the bit: kernels round by how weights lie in memory
    half = models.load(str(tmp_path), device="cpu", dtype=torch.bfloat16)
    assert half.fingerprint == model.fingerprint
    rough = half.denoiser(half.embed(PROMPTS[:1]))(z, 499.0)
    picture = half.decode(z)
    assert rough.dtype == half.encode(picture).dtype == picture.dtype == torch.float32
    assert ((rough - outputs[0]).norm() / outputs[0].norm()).item() < 0.1


def test_a_pipe_is_not_changed(case: Case, pipe: Any) -> None:
    before = state(pipe)
    model = models.from_pipe(pipe)
    z = model.encode(model.decode(noise(model, 1)))
    schedule = model.schedule(2, generator=generator(), shape=model.latent_shape(size(model)))
    denoiser = bound(model, case, PROMPTS[:1], guided=True)
    sample(denoiser, schedule, invert(denoiser, schedule, z, solver("fixed-point"), iterations=1).noise)
    after = state(pipe)
    assert {name for name in before if before[name] != after[name]} == set()


def state(pipe: Any) -> dict[str, Any]:
    """What a caller could find changed: settings, modes, processors, hooks, and where and what the weights are."""
    found: dict[str, Any] = {"config": dict(pipe.config), "attributes": sorted(vars(pipe))}
    for part, each in pipe.components.items():
        found[part] = id(each)
        if part == "scheduler":
            found["scheduler"] = (dict(each.config), {name: repr(value) for name, value in vars(each).items()})
        if isinstance(each, torch.nn.Module):
            found[f"{part}.config"] = str(each.config)
            found[f"{part}.processors"] = {
                name: id(value) for name, value in getattr(each, "attn_processors", {}).items()
            }
            for name, module in each.named_modules():
                hooks = len(module._forward_hooks), len(module._forward_pre_hooks), hasattr(module, "_hf_hook")
                found[f"{part}.{name}"] = (id(module), module.training, hooks, module.forward.__name__)
            for name, weight in [*each.named_parameters(), *each.named_buffers()]:
                mode = (weight.dtype, weight.device, weight.requires_grad, weight.stride(), weight.data_ptr())
                found[f"{part}.{name}"] = (mode, weight.detach().double().sum().item())
    return found


@pytest.mark.parametrize(("name", "length"), [("sd3", 255), ("sd3-without-t5", 10), ("flux-schnell", 255)])
def test_the_encoder_that_reads_most_says_what_is_cut(name: str, length: int) -> None:
    model = models.from_pipe(tiny_families.build(name))
    with pytest.warns(models.PromptWarning, match=f"longer than the {length} tokens .* reads; this was cut: '.*ball'"):
        model.embed([" ".join(["ball"] * 300)])
