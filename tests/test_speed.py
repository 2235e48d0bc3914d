"""What is timed, and that full sizes are full: numbers are counted here, seconds never judged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rnri.evaluation.architectures import ARCHITECTURES, Architecture
from rnri.evaluation.speed import peak, speed
from rnri.models import component
from rnri.models.loading import Loading
from tests.conftest import Run

PAUSE = 0.01
"""Seconds that a network is made to take at least."""

TINY = Architecture(
    "StableDiffusionPipeline",
    "owner/name",
    (
        "UNet2DConditionModel",
        {
            "sample_size": 8,
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "cross_attention_dim": 16,
            "attention_head_dim": 8,
            "norm_num_groups": 8,
        },
    ),
    ("AutoencoderKL", {"norm_num_groups": 4, "block_out_channels": (8,), "latent_channels": 4}),
    ARCHITECTURES["sd15"].scheduler,
    (12, 16),
    {},
)


def test_stages_and_their_calls_are_reported() -> None:
    before, dtype = torch.get_rng_state(), torch.get_default_dtype()
    model = TINY.build(torch.device("cpu"), torch.bfloat16)
    model.network.register_forward_hook(lambda *_: time.sleep(PAUSE))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == dtype
    told: list[str] = []
    report = speed(
        "tiny",
        model,
        TINY.condition(),
        solvers=["explicit", "fixed-point"],
        steps=2,
        budget=3,
        repeats=2,
        progress=told.append,
    )
    assert told == ["one call", "encode", "invert by explicit", "invert by fixed-point", "edit", "decode"]
    found = json.loads(report.to_json())
    assert [(each["stage"], each["calls"]) for each in found["stages"]] == [
        ("encode", 0),
        ("invert", 2),
        ("invert", 6),
        ("edit", 2),
        ("decode", 0),
    ]
    assert (found["dtype"], found["latents"], found["floor"]) == ("bfloat16", [1, 4, 8, 8], None)
    assert found["gflop"] > 0
    assert found["parameters"] == sum(weight.numel() for weight in model.network.parameters())
    assert report.bare >= PAUSE
    for each in report.stages:
        assert each.fastest >= each.calls * PAUSE  # all calls were timed, and in every repeat
        assert (each.overhead is None) == (each.calls == 0)


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989.0),
        ("NVIDIA H100 PCIe", torch.float16, 756.0),
        ("NVIDIA H100 80GB HBM3", torch.float32, None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", torch.bfloat16, None),
        ("NVIDIA GH200 480GB", torch.bfloat16, None),
    ],
)
def test_peaks_are_of_one_device_in_one_precision(device: str, dtype: torch.dtype, expected: float | None) -> None:
    assert peak(device, dtype) == expected


PUBLISHED = {"sd15": 860e6, "sdxl": 2.57e9, "sd3": 2.03e9, "flux": 11.9e9}
"""Parameters of the networks that denoise, as their authors state them."""


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_full_sizes_are_full(name: str) -> None:
    each = ARCHITECTURES[name]
    with torch.device("meta"):
        network, vae = component(*each.network), component(*each.vae)
    assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(PUBLISHED[name], rel=0.02)
    assert sum(weight.numel() for weight in vae.parameters()) == pytest.approx(83.7e6, rel=0.01)


def of_two_blocks(each: Architecture) -> Architecture:
    """With two of the blocks that all transformers repeat, since even without weights dozens take their time."""
    kind, settings = each.network
    depths: dict[str, Mapping[str, object]] = {
        "FluxTransformer2DModel": {"num_layers": 2, "num_single_layers": 2},
        "SD3Transformer2DModel": {"num_layers": 2},
        "UNet2DConditionModel": {"transformer_layers_per_block": (1, 2, 2)} if "pooled" in each.more else {},
    }
    return replace(each, network=(kind, {**settings, **depths[kind]}))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_full_sizes_read_the_shapes_they_are_given(name: str) -> None:
    """Without memory or time: on the meta device."""
    each = of_two_blocks(ARCHITECTURES[name])
    model = each.build(torch.device("meta"), torch.bfloat16)
    shape = model.latent_shape(each.image)
    condition = each.condition()
    output: Tensor = model.bare(condition, torch.empty(1, *shape, device="meta"), 500.0)()
    assert output.shape == (1, *shape)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--architecture", "sd9"), "--architecture 'sd9' is not one of embedded, sd15, sdxl, sd3, flux"),
        (("--random-weights",), "--random-weights needs an architecture: use --architecture sd15 or sdxl"),
        (("--dtype", "int8"), "--dtype 'int8' is not one of 'float32'"),
    ],
)
def test_what_cannot_be_timed(run: Run, options: tuple[str, ...], complaint: str) -> None:
    code, out, err = run("bench", "speed", *options)
    assert (code, out) == (2, "")
    assert complaint in err


def test_a_model_is_timed_from_the_command_line(run: Run, model: str) -> None:
    arguments = ("bench", "speed", "--model", model, "--steps", "1", "--repeats", "1", "--inverter", "explicit")
    code, out, err = run(*arguments, "--json", "--scheduler", "ddim", "--size", "32x48")
    assert code == 0, err
    assert json.loads(out)["latents"] == [1, 4, 12, 8]
    code, out, _ = run(*arguments)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()][:5] == ["stage", "embed", "encode", "invert", "edit"]
    code, _, err = run(*arguments, "--size", "30x30")
    assert code == 2
    assert "give multiples of 4" in err


@pytest.fixture
def tiny_sd15(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """What `--arch sd15 --random-weights` builds."""
    monkeypatch.setitem(ARCHITECTURES, "sd15", TINY)
    return TINY


RANDOM = (
    "bench",
    "speed",
    "--architecture",
    "sd15",
    "--random-weights",
    "--device",
    "cpu",
    "--repeats",
    "1",
    "--steps",
    "2",
)


def test_random_weights_are_timed_from_the_command_line(run: Run, tiny_sd15: Architecture) -> None:
    code, out, err = run(*RANDOM, "--inverter", "explicit", "--dtype", "bfloat16", "--size", "16x24", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["model"], report["dtype"], report["latents"]) == ("sd15", "bfloat16", [1, 4, 24, 16])
    assert [each["stage"] for each in report["stages"]] == ["encode", "invert", "edit", "decode"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (("--lora", "owner/name"), "lora"),
        (("--variant", "fp16"), "variant"),
        (("--preview", "owner/name"), "preview"),
        (("--allow-pickle", "unet"), "allow_pickle"),
    ],
)
def test_what_random_weights_cannot_have_is_refused(
    run: Run, tiny_sd15: Architecture, options: tuple[str, ...], option: str
) -> None:
    code, out, err = run(*RANDOM, *options)
    assert (code, out) == (2, "")
    assert (
        err.splitlines()[-1] == f"rnri: {option} has no effect on a model that is made of its components: leave it out"
    )


def test_every_other_way_of_running_reaches_them(tiny_sd15: Architecture) -> None:
    here = torch.device("cpu")

    def built(**how: Any) -> Any:
        return tiny_sd15.build(here, torch.float32, Loading(**how))

    model = built(scheduler="euler", spacing="leading", vae_tiling=True, vae_slicing=True, fuse_qkv=True)
    assert type(model.scheduler).__name__ == "EulerDiscreteScheduler"
    assert model.schedule(2)[0].t == 500
    assert model.vae.use_tiling
    assert model.vae.use_slicing
    assert model.network.down_blocks[0].attentions[0].transformer_blocks[0].attn1.fused_projections
    assert hasattr(built(offload="model").network, "_hf_hook")
    assert built(channels_last=True).network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="offload 'sequential' needs an accelerator"):
        built(offload="sequential")
    with pytest.raises(ValueError, match="no CUDA graphs on cpu"):
        built(cuda_graphs=True)


def test_what_is_compiled_is_counted_as_what_is_not(tiny_sd15: Architecture) -> None:
    counts = []
    for prepared in (False, True):
        model = tiny_sd15.build(torch.device("cpu"), torch.float32)
        if prepared:
            model.network.compile(backend="aot_eager")
        report = speed("tiny", model, tiny_sd15.condition(), solvers=["explicit"], steps=1, repeats=1)
        counts.append((report.gflop, report.floor))
    assert counts[0] == counts[1]
    assert counts[0][0] > 0
