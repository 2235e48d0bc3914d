"""The Stable Diffusion family against its own pipeline, and the door it comes in by."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
)
from rnri_core.inversion.inversion import sample

from rnri import models
from rnri.editing import edit as editing
from rnri.models import Defaults, PromptWarning
from rnri.models.loading import SCHEDULERS
from rnri.models.schedulers import table
from tests import tiny, tiny_families

# diffusers' Euler schedulers, as numpy sees them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPTS = ["a red ball on the left", "a blue cube on sand"]
NEGATIVE = "a small green ball"
# a few network calls in another batch and order: 1e-6 each, times the growth
FLOAT32: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.pipeline(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def global_state_untouched() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def pipe_with(noise: Any) -> StableDiffusionPipeline:
    pipe = tiny.pipeline(noise=noise)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents(count: int = 1, seed: int = 0) -> torch.Tensor:
    side = tiny.SIDE // tiny.FACTOR
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(seed))


# --- the pipeline is the oracle ---------------------------------------------------------------------------------


def assert_same_as_pipeline(noise: Any, steps: int, *, guidance: float = 1.0, prompts: list[str] = PROMPTS) -> None:
    pipe = pipe_with(noise)
    start = latents(len(prompts))
    expected = pipe(
        prompts,
        negative_prompt=[NEGATIVE] * len(prompts),
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=start,
        generator=torch.Generator().manual_seed(7),
        output_type="latent",
    ).images
    model = models.from_pipe(pipe)
    schedule = model.schedule(steps, generator=torch.Generator().manual_seed(7))
    assert len(schedule) == steps
    denoiser = editing.bound(model, prompts, guidance, NEGATIVE if guidance > 1 else None)
    found = sample(denoiser, schedule, start * pipe.scheduler.init_noise_sigma)
    torch.testing.assert_close(found, expected, **FLOAT32)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_samples_are_those_of_the_pipeline(prediction: str, guidance: float) -> None:
    assert_same_as_pipeline(tiny.scheduler(prediction), 4, guidance=guidance)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 7])
def test_so_are_the_timesteps(spacing: str, steps: int) -> None:
    assert_same_as_pipeline(tiny.scheduler(timestep_spacing=spacing, set_alpha_to_one=True), steps)


@pytest.mark.parametrize("betas", [{"beta_schedule": "squaredcos_cap_v2"}, {"rescale_betas_zero_snr": True}])
def test_so_are_other_noise_levels(betas: dict[str, Any]) -> None:
    assert_same_as_pipeline(tiny.scheduler("v_prediction", **betas), 4)


@pytest.mark.parametrize("kind", [EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, LCMScheduler])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_so_are_other_samplers_and_their_noise(kind: Any, prediction: str) -> None:
    options = dict(tiny.scheduler(prediction).config)
    assert_same_as_pipeline(kind.from_config(options), 4, prompts=PROMPTS[:1])


def test_every_table_is_tried_above() -> None:
    tried = {DDIMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, LCMScheduler}
    flows = {"FlowMatchEulerDiscreteScheduler"}  # in test_families
    missing = {kind for kind, _ in SCHEDULERS.values()} - {kind.__name__ for kind in tried} - flows
    assert not missing, "add them to the test above, and here"


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_decoding_is_that_of_the_pipeline(kind: Any) -> None:
    pipe = tiny.pipeline(vae=kind)
    model = models.from_pipe(pipe)
    scaled = latents(2) / pipe.vae.config.scaling_factor
    expected = pipe.image_processor.postprocess(pipe.vae.decode(scaled).sample.detach(), output_type="pt")
    torch.testing.assert_close(model.decode(latents(2)), expected * 2 - 1)


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_encoding_is_deterministic_and_scaled(kind: Any) -> None:
    pipe = tiny.pipeline(vae=kind)
    model = models.from_pipe(pipe)
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = model.encode(image)
    encoded = pipe.vae.encode(image)
    expected = encoded.latents if kind == "tiny" else encoded.latent_dist.mean
    assert found.shape == (2, *model.latent_shape((32, 48)))
    torch.testing.assert_close(found, expected.detach() * pipe.vae.config.scaling_factor)
    assert torch.equal(found, model.encode(image))
    torch.testing.assert_close(model.encode(image[:1]), found[:1])


def test_a_batch_equals_one_by_one_and_one_prompt_serves_all() -> None:
    model = models.from_pipe(tiny.pipeline())
    z = latents(2)
    together = model.denoiser(model.embed(PROMPTS))(z, 499.0)
    for n, prompt in enumerate(PROMPTS):
        alone = model.denoiser(model.embed([prompt]))
        torch.testing.assert_close(together[n : n + 1], alone(z[n : n + 1], 499.0))
        torch.testing.assert_close(together[n : n + 1], alone(z, 499.0)[n : n + 1])
    with pytest.raises(ValueError, match="2 prompts do not fit 3 latents"):
        model.denoiser(model.embed(PROMPTS))(latents(3), 499.0)


def test_the_network_runs_in_its_dtype_and_the_outside_in_float32(folder: Path) -> None:
    half = models.load(str(folder), device="cpu", dtype=torch.bfloat16)
    full = models.load(str(folder), device="cpu")
    z, image = latents(), torch.zeros(1, 3, tiny.SIDE, tiny.SIDE)
    for model in (half, full):
        outputs = model.denoiser(model.embed(PROMPTS[:1]))(z, 499.0), model.encode(image), model.decode(z)
        assert {output.dtype for output in outputs} == {torch.float32}
    assert full.denoiser(full.embed(PROMPTS[:1]))(z.double(), 499.0).dtype == torch.float64
    assert half.fingerprint == full.fingerprint


def test_gradients_reach_the_latents_and_stop_there(folder: Path) -> None:
    model = models.load(str(folder), device="cpu")
    z = latents().requires_grad_()
    torch.autograd.backward(model.denoiser(model.embed(PROMPTS[:1]))(z, 499.0).sum())
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


# --- schedules --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strength", "kept"), [(1.0, 50), (0.58, 29), (0.5, 25), (0.02, 1), (0.999, 49)])
def test_strength_keeps_the_last_steps(strength: float, kept: int) -> None:
    model = models.from_pipe(tiny.pipeline())
    whole = model.schedule(50)
    assert [step.t for step in model.schedule(50, strength=strength)] == [step.t for step in whole[-kept:]]


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.01, 0.1, float("nan")])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength=.* is out of range: give 0\.25 to 1"):
        models.from_pipe(tiny.pipeline()).schedule(4, strength=strength)


@pytest.mark.parametrize("steps", [0, -3, 1001, 2.5])
def test_steps_out_of_range(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"steps=.* is out of range: give a whole number from 1 to 1000"):
        models.from_pipe(tiny.pipeline()).schedule(steps)


@pytest.mark.parametrize(
    ("kind", "changes", "complaint"),
    [
        (DDIMScheduler, {"clip_sample": True}, "'clip_sample' to false"),
        (DDIMScheduler, {"thresholding": True}, "'thresholding' to false"),
        (DDIMScheduler, {"rescale_betas_zero_snr": True}, "zero terminal SNR"),
        (PNDMScheduler, {}, r"PNDMScheduler cannot be inverted .* outputs of the steps before; .* is scheduler ddim"),
        (EulerAncestralDiscreteScheduler, {}, "give a generator"),
    ],
)
def test_samplers_that_cannot_be_inverted_are_refused(kind: Any, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        table(kind.from_config(dict(tiny.scheduler().config), **changes), 4, shape=(4, 8, 8))


# --- prompts ----------------------------------------------------------------------------------------------------


def test_a_prompt_that_is_too_long_is_cut_and_said_so(folder: Path) -> None:
    model = models.load(str(folder), device="cpu")
    long = " ".join(["a red ball"] * 3 + ["on sand"] * 3)
    with pytest.warns(PromptWarning, match=r"longer than the 10 tokens .* was cut: 'sand on sand on sand'"):
        cut = model.embed([long, "a red ball"])
    whole = model.embed([" ".join(long.split()[:10]), "a red ball"])
    assert torch.equal(cut.tokens, whole.tokens)
    assert cut.prompts == (long, "a red ball")


def test_unknown_words_are_named_with_the_known_ones(folder: Path) -> None:
    model = models.load(str(folder), device="cpu")
    with pytest.warns(PromptWarning, match=r"does not know ninja, hut; it knows a, ball, blue, .*, small, the$"):
        model.embed(["A Ninja hut!"])
    models.from_pipe(tiny.pipeline()).embed(["a ninja"])  # no list of words: nothing to say


# --- the door ---------------------------------------------------------------------------------------------------


def test_a_folder_is_what_its_pipeline_is(folder: Path) -> None:
    loaded, piped = models.load(str(folder), device="cpu"), models.from_pipe(tiny.pipeline())
    assert loaded.image_size == piped.image_size == (tiny.SIDE, tiny.SIDE)
    assert loaded.multiple == piped.multiple == tiny.FACTOR
    assert loaded.fingerprint == piped.fingerprint
    z = latents()
    outputs = [model.denoiser(model.embed(PROMPTS[:1]))(z, 499.0) for model in (loaded, piped)]
    assert torch.equal(*outputs)


def test_a_folder_says_what_it_is_best_used_with(copy: Path) -> None:
    assert models.load(str(copy), device="cpu").defaults == Defaults(steps=30, guidance=1.0)
    (copy / "rnri.json").write_text('{"steps": 4, "guidance": 1.5}')
    assert models.load(str(copy), device="cpu").defaults == Defaults(steps=4, guidance=1.5)
    pipe = StableDiffusionPipeline.from_pretrained(copy, safety_checker=None)
    assert models.from_pipe(pipe).defaults == Defaults(steps=4, guidance=1.5)
    Defaults(steps=8, guidance=3.0, editing=1.25).write(copy)
    loaded = models.load(str(copy), device="cpu")
    assert loaded.defaults == Defaults(steps=8, guidance=3.0, editing=1.25)
    assert (loaded.defaults.edit_guidance, Defaults(guidance=2.0).edit_guidance) == (1.25, 2.0)
    (copy / "rnri.json").write_text('{"steps": 4}')
    with pytest.raises(ValueError, match=r"rnri.json is damaged: it should read like .*guidance"):
        models.load(str(copy), device="cpu")


def test_few_steps_are_enough_for_a_consistency_model() -> None:
    noise = LCMScheduler.from_config(dict(tiny.scheduler().config))
    assert models.from_pipe(tiny.pipeline(noise=noise)).defaults.steps == 4


def test_other_weights_are_another_model() -> None:
    prints = {models.from_pipe(tiny.pipeline(seed=seed)).fingerprint for seed in range(3)}
    assert len(prints) == 3


def test_a_pipe_is_not_changed() -> None:
    pipe = tiny.pipeline()
    model = models.from_pipe(pipe)
    config, state = dict(pipe.scheduler.config), dict(vars(pipe.scheduler))
    weights = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    sample(model.denoiser(model.embed(PROMPTS[:1])), model.schedule(4), latents())
    assert dict(pipe.scheduler.config) == config
    assert all(now is state[name] for name, now in vars(pipe.scheduler).items())
    assert all(torch.equal(now, weights[name]) for name, now in pipe.unet.state_dict().items())
    assert all(weight.requires_grad for weight in pipe.unet.parameters())


@pytest.mark.parametrize("kind", ["kl", "tiny"])
def test_loading_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: Any) -> None:
    tiny.save(tiny.pipeline(vae=kind), tmp_path)
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    try:
        models.load(str(tmp_path), device="cpu")
    finally:
        for logger in loggers:
            logger.removeHandler(caplog.handler)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("no-such-model", "unknown model 'no-such-model': use scenes, scenes-turbo, a folder, or a Hub id"),
        ("/no/such/folder", "unknown model"),
    ],
)
def test_unknown_models(name: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        models.load(name)


@pytest.mark.parametrize("device", ["abacus", "cpu:two"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(ValueError, match="is not available here: use auto or cpu"):
        models.load("scenes", device=device)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a model: it needs a model_index\.json"):
        models.load(str(tmp_path))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_component_is_named(copy: Path, part: str) -> None:
    shutil.rmtree(copy / part)
    assert_refused(copy, rf"its {part} cannot be loaded \(it has no folder {part}\): use a whole copy$")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("size", [0, 1000])
def test_a_truncated_component_is_named(copy: Path, part: str, size: int) -> None:
    (weights,) = (copy / part).glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:size])
    assert_refused(copy, rf"its {part} cannot be loaded")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_not_made_up(copy: Path, part: str) -> None:
    from safetensors.torch import load_file, save_file

    (path,) = (copy / part).glob("*.safetensors")
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path, metadata={"format": "pt"})
    assert_refused(copy, rf"its {part} lacks 1 weight tensors: get a whole copy")


def test_pickled_weights_are_refused(copy: Path) -> None:
    (path,) = (copy / "unet").glob("*.safetensors")
    path.rename(path.with_suffix(".bin"))
    cure = r"use --allow-pickle unet, in Python Loading\(allow_pickle=\('unet',\)\)"
    assert_refused(copy, rf"its unet cannot be loaded \(pickles may run code\): if you trust them, {cure}$")


@pytest.mark.parametrize("absent", ["sentencepiece", "google.protobuf"])
def test_a_tokenizer_whose_library_is_absent_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    tiny_families.build("pixart-sigma").save_pretrained(tmp_path)
    (tmp_path / "tokenizer" / "tokenizer.json").rename(tmp_path / "tokenizer" / "spiece.model")
    monkeypatch.setattr("rnri.models.components.find_spec", lambda name: None if name == absent else name)
    assert_refused(tmp_path, rf"its tokenizer needs {absent}: pip install 'rnri\[text\]'$")


@pytest.mark.filterwarnings("ignore:.*Quanto:FutureWarning")
@pytest.mark.skipif(find_spec("optimum") is not None, reason="the library is there")
def test_a_network_whose_library_is_absent_is_named(copy: Path) -> None:
    config = json.loads((copy / "unet" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "quanto", "weights_dtype": "int8"}
    (copy / "unet" / "config.json").write_text(json.dumps(config))
    assert_refused(copy, r"its unet cannot be loaded \(Loading an optimum-quanto.* requires optimum-quanto")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("_class_name", "OldPipeline", "no model family serves OldPipeline: use one of StableDiffusionPipeline"),
        ("unet", ["diffusers", "UNet1DModel"], "its unet is UNet1DModel, not UNet2DConditionModel"),
        ("scheduler", ["diffusers", "PNDMScheduler"], "PNDMScheduler cannot be inverted step by step"),
        ("unet", ["my_own_code", "UNet2DConditionModel"], r"its unet is code of its own \(my_own_code"),
        ("vae", [None, None], "its vae is None"),
    ],
)
def test_another_family_is_named(copy: Path, key: str, value: Any, complaint: str) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {key: value}))
    assert_refused(copy, complaint)


def assert_refused(folder: Path, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        models.load(str(folder), device="cpu")
    assert "\n" not in str(raised.value)
