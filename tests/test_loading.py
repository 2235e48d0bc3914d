"""How a model may be asked to be loaded and run, and what is said where that cannot be."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)
from rnri_core.errors import RnriError
from torch._dynamo.testing import CompileCounterWithBackend

from rnri import Status, models
from rnri.editing.editor import Editor
from rnri.models.acceleration import fuse, prepare
from rnri.models.attention import attending
from rnri.models.attention_hooks import AttentionHook, AttentionLayer, Projections
from rnri.models.loading import SCHEDULERS, Loading
from rnri.models.schedulers import NEAREST, REASONS, choose, table
from tests import tiny, tiny_families

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPT = "a red ball"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.pipeline(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def load(folder: Path, dtype: torch.dtype = torch.float32, **how: Any) -> Any:
    return models.load(str(folder), device="cpu", dtype=dtype, loading=Loading(**how))


@cache
def latents(count: int = 1) -> torch.Tensor:
    side = tiny.SIDE // tiny.FACTOR
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(0))


def output(model: Any) -> torch.Tensor:
    result: torch.Tensor = model.denoiser(model.embed([PROMPT]))(latents(), 499.0)
    return result


# --- schedulers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "flow"])
def test_another_scheduler_keeps_the_noise_levels(folder: Path, name: str) -> None:
    model = load(folder, scheduler=name)
    assert type(model.scheduler).__name__ == SCHEDULERS[name][0]
    own = load(folder).scheduler.config
    assert all(model.scheduler.config[key] == own[key] for key in ("beta_end", "prediction_type", "timestep_spacing"))
    assert len(model.schedule(3, generator=torch.Generator().manual_seed(0))) == 3


@pytest.mark.parametrize(
    ("scheduler", "reason", "nearest"),
    [
        (PNDMScheduler(), "outputs of the steps before", "ddim"),
        (HeunDiscreteScheduler(), "call the network more than once", "euler"),
        (FlowMatchHeunDiscreteScheduler(), "call the network more than once", "flow"),
        (DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"), "before", "flow"),
    ],
)
def test_what_cannot_be_inverted_is_refused_with_the_nearest_that_can(
    scheduler: Any, reason: str, nearest: str
) -> None:
    with pytest.raises(
        ValueError, match=f"cannot be inverted step by step: its .*{reason}; .* is scheduler {nearest}$"
    ):
        choose(scheduler, None)
    choose(choose(scheduler, nearest), None)


@pytest.mark.parametrize("kind", [EDMEulerScheduler, EDMDPMSolverMultistepScheduler])
@pytest.mark.parametrize("name", [None, "ddim", "euler", "flow"])
def test_nothing_stands_in_for_a_scheduler_of_edm(kind: Any, name: str | None) -> None:
    complaint = rf"^{kind.__name__} cannot be inverted, nor replaced: .* scaled by sigma_data, .*; use another model$"
    with pytest.raises(ValueError, match=complaint):
        choose(kind(), name)
    with pytest.raises(ValueError, match=complaint):
        table(kind(), 4, shape=(4, 8, 8))


def test_schedulers_fit_what_the_network_predicts() -> None:
    with pytest.raises(ValueError, match=r"'flow' does not fit a network that predicts noise.*: use ddim or euler"):
        choose(EulerDiscreteScheduler(), "flow")
    with pytest.raises(ValueError, match="'ddim' does not fit a network that predicts a flow: use flow"):
        choose(tiny_families.flow_scheduler(), "ddim")


def test_what_no_table_has_is_off_in_another_scheduler_but_levels_that_rise_stay_refused() -> None:
    own = tiny_families.flow_scheduler(stochastic_sampling=True)
    with pytest.raises(ValueError, match=r"'stochastic_sampling' to false in .* or use scheduler flow$"):
        choose(own, None)
    assert len(table(choose(own, "flow"), 4, shape=(4, 8, 8))) == 4
    rising = tiny_families.flow_scheduler(invert_sigmas=True)
    for scheduler in (rising, choose(rising, "flow")):
        with pytest.raises(ValueError, match=r"'invert_sigmas' cannot be inverted: .*; use another model$"):
            table(scheduler, 4, shape=(4, 8, 8))


def test_more_steps_than_a_consistency_model_was_trained_with_are_refused() -> None:
    scheduler = LCMScheduler(original_inference_steps=50)
    generator = torch.Generator().manual_seed(0)
    assert len(table(scheduler, 50, shape=(4, 8, 8), generator=generator)) == 50
    with pytest.raises(RnriError, match=r"^steps=51 does not fit LCMScheduler: give .* from 1 to 50$") as raised:
        table(scheduler, 51, shape=(4, 8, 8), generator=generator)
    assert raised.value.field == "steps"
    assert len(table(choose(scheduler, "ddim"), 51, shape=(4, 8, 8))) == 51


def test_a_refusal_of_the_scheduler_is_an_error_in_one_line() -> None:
    with pytest.raises(RnriError, match=r"^steps=4 does not fit FlowMatchEulerDiscreteScheduler: `mu` must be passed"):
        table(tiny_families.flow_scheduler(use_dynamic_shifting=True), 4, shape=(4, 8, 8))


def test_what_has_a_table_is_not_listed_as_what_has_none() -> None:
    listed = {kind for kinds in (*REASONS.values(), *NEAREST.values()) for kind in kinds}
    served = {kind.removesuffix("Scheduler") for kind, _ in SCHEDULERS.values()}
    assert not listed & served, "take them out of REASONS and NEAREST in models/schedulers.py"


def test_a_flow_keeps_its_shift() -> None:
    own = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    assert choose(own, "flow").config.shift == 3.0


def test_few_steps_are_told_by_the_scheduler(folder: Path) -> None:
    assert load(folder, scheduler="euler").defaults.steps == 4  # trailing: as distilled checkpoints have it
    assert load(folder, scheduler="ddim").defaults.steps == 30


def test_guidance_that_a_few_step_model_may_not_have_is_warned_of(copy: Path) -> None:
    """Nothing in a checkpoint says that it was distilled; only its sampler suggests so."""
    turbo, other = Editor(load(copy, scheduler="euler")), Editor(load(copy))
    turbo.generate(PROMPT, steps=1)
    other.generate(PROMPT, steps=1, guidance=3.0)
    complaint = "set up like models distilled to few steps, which sample without guidance: leave guidance=3 at 1 unless"
    with pytest.warns(models.GuidanceWarning, match=complaint):
        turbo.generate(PROMPT, steps=1, guidance=3.0)
    found = turbo.invert(torch.zeros(1, 3, 32, 32), PROMPT, steps=1, inverter="explicit")
    with pytest.warns(models.GuidanceWarning, match=complaint):
        turbo.edit(found, PROMPT, guidance=3.0)
    (copy / "rnri.json").write_text('{"steps": 4, "guidance": 1.5}')  # it says itself how it is used
    Editor(load(copy, scheduler="euler")).generate(PROMPT, steps=1)


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"scheduler": "dpm"}, "scheduler 'dpm' is not known: use ddim, euler"),
        ({"offload": "disk"}, "offload 'disk' is not known: use none, model, sequential"),
        ({"compile": True, "cuda_graphs": True}, "exclude each other"),
    ],
)
def test_what_is_not_known_is_refused(how: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Loading(**how)


def test_one_string_is_no_tuple() -> None:
    with pytest.raises(TypeError, match="lora='style' is one string"):
        Loading(lora="style")  # type: ignore[arg-type]


# --- step counts ------------------------------------------------------------------------------------------------


def test_an_edit_may_take_other_steps(folder: Path) -> None:
    editor, picture = Editor(load(folder)), torch.zeros(1, 3, 32, 32)
    source = editor.invert(picture, PROMPT, steps=4, inverter="fixed-point", iterations=12)
    assert editor.edit(source, PROMPT, steps=4).picture.tobytes() == editor.edit(source, PROMPT).picture.tobytes()
    assert editor.edit(source, PROMPT, steps=8).picture.tobytes() != editor.edit(source, PROMPT).picture.tobytes()
    part = editor.invert(picture, PROMPT, steps=4, strength=0.5)
    editor.edit(part, PROMPT, steps=8)
    with pytest.raises(ValueError, match=r"3 steps do not pass the noise level .* \(t=499\): invert in 3 steps"):
        editor.edit(part, PROMPT, steps=3)
    corrected = editor.invert(picture, PROMPT, steps=4, noise_maps=True)
    assert editor.edit(corrected, PROMPT, steps=4).picture.tobytes() == editor.edit(corrected, PROMPT).picture.tobytes()
    bare = replace(corrected, trajectory=replace(corrected.trajectory, noise_maps=None))
    assert (
        editor.edit(corrected, PROMPT, steps=8).picture.tobytes()
        == editor.edit(bare, PROMPT, steps=8).picture.tobytes()
    )


def test_frozen_noise_is_of_its_own_steps(folder: Path) -> None:
    editor = Editor(load(folder, scheduler="euler-ancestral"))
    source = editor.invert(torch.zeros(1, 3, 32, 32), PROMPT, steps=3)
    with pytest.raises(ValueError, match="steps=4 needs a sampler that adds no noise"):
        editor.edit(source, PROMPT, steps=4)


# --- precision, memory, speed -----------------------------------------------------------------------------------


def test_an_autoencoder_that_overflows_runs_in_float32(tmp_path: Path) -> None:
    pipe = tiny_families.build("sdxl")
    pipe.save_pretrained(tmp_path)
    assert load(tmp_path, torch.float16).vae.dtype == torch.float32
    half = pipe.to(torch.float16)
    model: Any = models.from_pipe(half)
    assert (model.vae.dtype, half.vae.dtype) == (torch.float32, torch.float16)
    assert model.decode(latents()).isfinite().all()
    assert model.vae.encoder.conv_in.weight.data_ptr() != half.vae.encoder.conv_in.weight.data_ptr()


def test_a_network_in_float16_inverts_and_edits(folder: Path) -> None:
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    drawn = []
    for dtype in (torch.float32, torch.float16):
        editor = Editor(load(folder, dtype))
        found = editor.invert(picture, PROMPT, steps=4, inverter="fixed-point", iterations=20, tol=1e-3)
        assert {status for each in found.solutions for status in each.status} == {Status.CONVERGED}
        assert found.noise.dtype == torch.float32
        edited = editor.edit(found, "a blue ball", guidance=2.0).picture
        drawn.append(np.asarray(edited, dtype=float))
    assert np.abs(drawn[0] - drawn[1]).mean() < 1  # of 255


def test_offloaded_networks_say_the_same(folder: Path) -> None:
    plain, model = load(folder), load(folder, offload="model")
    assert torch.equal(output(model), output(plain))
    assert torch.equal(model.decode(latents()), plain.decode(latents()))
    assert model.device.type == "cpu"
    assert models.from_pipe(model.pipe).fingerprint == model.fingerprint == plain.fingerprint
    with pytest.raises(ValueError, match="offload 'sequential' needs an accelerator"):
        load(folder, offload="sequential")


def test_weights_are_found_where_they_are_offloaded_to() -> None:
    pipe = tiny.pipeline()
    expected = models.from_pipe(pipe).fingerprint
    pipe.enable_sequential_cpu_offload(device="cpu")
    assert pipe.unet.conv_in.weight.is_meta
    assert models.from_pipe(pipe).fingerprint == expected


@pytest.mark.parametrize("how", [{"channels_last": True}, {"fuse_qkv": True}, {"vae_slicing": True}])
def test_what_is_faster_or_smaller_computes_the_same(folder: Path, how: dict[str, Any]) -> None:
    plain, model = load(folder), load(folder, **how)
    torch.testing.assert_close(output(model), output(plain))
    torch.testing.assert_close(model.decode(latents(2)), plain.decode(latents(2)), rtol=1e-4, atol=1e-5)
    assert model.fingerprint == plain.fingerprint


@pytest.mark.parametrize("name", ["sana", "lumina2"])
def test_a_network_that_has_nothing_to_fuse_is_refused(name: str) -> None:
    network = tiny_families.build(name).transformer
    with pytest.raises(ValueError, match=f"^{type(network).__name__} cannot fuse .*: leave fuse_qkv out$"):
        fuse(network)


def test_large_images_are_encoded_in_tiles(folder: Path) -> None:
    model = load(folder, vae_tiling=True)
    assert model.vae.use_tiling
    model.vae.tile_sample_min_size, model.vae.tile_latent_min_size = 16, 4
    assert model.encode(torch.zeros(1, 3, 32, 48)).shape == (1, *model.latent_shape((32, 48)))


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_repeated_blocks_are_compiled_or_without_them_the_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, and not again for other pictures, times and prompts of the same shapes."""
    graphs = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend=graphs))
    plain, model = (models.from_pipe(tiny_families.build(name)) for _ in range(2))
    torch.compiler.reset()
    prepare(model.network, model.vae, torch.device("cpu"), Loading(compile=True))
    kinds = {type(module) for module in model.network.modules() if module._compiled_call_impl is not None}
    assert {kind.__name__ for kind in kinds} == set(model.network._repeated_blocks or [type(model.network).__name__])
    counts = []
    for t in (499.0, 250.0):
        z = torch.randn(1, *model.latent_shape((32, 32)), generator=torch.Generator().manual_seed(int(t)))
        with torch.no_grad():
            found, expected = (each.denoiser(each.embed([PROMPT]))(z, t) for each in (model, plain))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        counts.append(graphs.frame_count)
    torch.compiler.reset()
    assert counts[0] == counts[1] > 0


class Doubling(AttentionHook):
    """Twice the values at every layer."""

    def project(
        self, step: int, layer: AttentionLayer, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> Projections:
        return q, k, 2 * v


@torch.no_grad()
def test_a_compiled_network_is_hooked_without_compiling_again(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend=graphs))
    plain, model = (models.from_pipe(tiny_families.build("sd")) for _ in range(2))
    torch.compiler.reset()
    prepare(model.network, model.vae, torch.device("cpu"), Loading(compile=True))
    before = output(model)
    compiled = graphs.frame_count
    hooked = []
    for each in (model, plain):
        with attending(each, [Doubling()]):
            hooked.append(output(each))
    assert torch.equal(*hooked)
    assert torch.equal(output(model), before)
    torch.compiler.reset()
    assert not torch.equal(hooked[0], before)
    assert graphs.frame_count == compiled > 0


def test_outputs_of_a_network_that_reuses_their_memory_are_kept_apart(folder: Path) -> None:
    """What CUDA graphs do, without CUDA."""
    model, plain = load(folder), load(folder)
    memory = torch.zeros(latents().shape)
    model.predict = lambda z, t, read: memory.copy_(plain.predict(z, t, read))
    model.replayed = True
    m, n = (each.denoiser(each.embed([PROMPT])) for each in (model, plain))
    found = [m(latents(), t) for t in (999.0, 499.0)]
    for output, t in zip(found, (999.0, 499.0), strict=True):
        assert torch.equal(output, n(latents(), t))
    assert not torch.equal(*found)


def test_cuda_graphs_do_not_wait_for_a_tolerance(folder: Path) -> None:
    model = load(folder)
    model.replayed = True
    with pytest.raises(ValueError, match=r"^tol=0\.001 and CUDA graphs exclude each other: give iterations alone$"):
        Editor(model).invert(torch.zeros(1, 3, 32, 32), PROMPT, steps=1, tol=1e-3)


def test_cuda_graphs_need_cuda(folder: Path) -> None:
    with pytest.raises(ValueError, match="no CUDA graphs on cpu: leave cuda_graphs out"):
        load(folder, cuda_graphs=True)


def test_previews_are_by_a_tiny_autoencoder(folder: Path, tmp_path: Path) -> None:
    tiny.autoencoder("tiny").save_pretrained(tmp_path / "taesd")
    model, plain = load(folder, preview=str(tmp_path / "taesd")), load(folder)
    assert model.preview(latents()).shape == (1, 3, 32, 32)
    assert not torch.equal(model.preview(latents()), model.decode(latents()))
    assert torch.equal(plain.preview(latents()), plain.decode(latents()))
    with pytest.raises(ValueError, match="unet is no tiny autoencoder such as madebyollin/taesd"):
        load(folder, preview=str(folder / "unet"))


# --- files ------------------------------------------------------------------------------------------------------


def test_pickles_are_read_only_where_asked_for_by_name(copy: Path) -> None:
    expected = output(load(copy))
    pipe = tiny.pipeline()
    pipe.unet.save_pretrained(copy / "unet", safe_serialization=False)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="its unet cannot be loaded"):
        load(copy)
    assert torch.equal(output(load(copy, allow_pickle=("unet",))), expected)
    with pytest.raises(ValueError, match="has no component 'net': it has vae, unet"):
        load(copy, allow_pickle=("net",))


def test_a_variant_is_another_copy_of_the_weights(copy: Path) -> None:
    expected = output(load(copy))
    for path in [*copy.rglob("*.safetensors")]:
        path.rename(path.with_suffix(".fp16.safetensors"))
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(copy)
    assert torch.equal(output(load(copy, variant="fp16")), expected)
