"""How long the way takes, stage by stage, beside the network calls that it is made of.

    overhead = 1 − calls · bare / seconds

is what is spent on everything but the network: `bare` is one network call by itself, `calls` how many a stage makes,
an exact product counted as two.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from rnri_core.inversion.inversion import sample
from rnri_core.inversion.presets import inverter
from torch.utils.flop_counter import FlopCounterMode

from rnri.evaluation.records import environment
from rnri.models import Condition, ModelAdapter

Progress = Callable[[str], None]

PEAKS = {
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA A100-PCIE-40GB": 312.0,
    "NVIDIA A100 80GB PCIe": 312.0,
    "NVIDIA H100 80GB HBM3": 989.0,
    "NVIDIA H100 PCIe": 756.0,
    "NVIDIA H100 NVL": 835.0,
    "NVIDIA H200": 989.0,
    "NVIDIA GeForce RTX 4090": 165.2,
}
"""Dense TFLOP/s in bfloat16 and float16 that makers state, by a device's whole name: there are slower H100s."""

ROW = 4


@dataclass(frozen=True)
class Stage:
    """One stage: its median seconds, the fastest and the slowest; calls, and the share that is not the network's.

    `overhead` is None for stages that do not call the network.
    """

    stage: str
    solver: str | None
    seconds: float
    fastest: float
    slowest: float
    calls: int
    overhead: float | None


@dataclass(frozen=True)
class SpeedReport:
    """All stages of one model on one device.

    `bare` is a network call by itself in seconds and `gflop` what it computes; `floor` the seconds that inverting with
    the first solver and editing would take at the device's stated peak, None where `peak` is. Peak memory is the
    device's, or that of the whole process where there is only main memory.
    """

    model: str
    dtype: str
    steps: int
    budget: int
    latents: tuple[int, ...]
    parameters: int
    repeats: int
    bare: float
    gflop: float
    floor: float | None
    peak_memory_mb: float | None
    stages: tuple[Stage, ...]
    environment: dict[str, Any]

    def to_json(self) -> str:
        """One object on one line."""
        return json.dumps(asdict(self), allow_nan=False)


def speed(
    name: str,
    model: ModelAdapter,
    condition: Condition,
    *,
    solvers: Sequence[str],
    steps: int,
    budget: int = 1,
    size: tuple[int, int] | None = None,
    repeats: int = 5,
    progress: Progress = lambda stage: None,
) -> SpeedReport:
    """Time encoding, inverting with each solver, editing and decoding: once unmeasured, then `repeats` times.

    Reading the prompt is a stage of its own, where there is one. Editing is `sample`, from the noise that was found:
    nothing is guided or controlled, `tol` is None. `size` is (height, width), by default what the model was made for.
    """
    device, shape = model.device, model.latent_shape(size or model.image_size)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, *shape, generator=generator).to(device)
    schedule = model.schedule(steps, generator=generator, shape=shape)
    denoiser = model.denoiser(condition)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    progress("one call")
    call = model.bare(condition, latents, schedule[0].t)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        call()
    bare = statistics.median(_timed(lambda: _row(call), repeats, device)[1]) / ROW

    stages = []

    def add(stage: str, method: str | None, work: Callable[[], Any], calls: Callable[[Any], int]) -> Any:
        progress(stage if method is None else f"{stage} by {method}")
        result, seconds = _timed(work, repeats, device)
        median, made = statistics.median(seconds), calls(result)
        overhead = 1 - made * bare / median if made else None
        stages.append(Stage(stage, method, median, min(seconds), max(seconds), made, overhead))
        return result

    if any(condition.prompts):
        add("embed", None, lambda: model.embed(condition.prompts), lambda result: 0)
    image = torch.zeros(1, 3, *(size or model.image_size))
    add("encode", None, lambda: model.encode(image), lambda result: 0)
    for method in solvers:
        inverting = partial(inverter(method, schedule, iterations=budget).invert, denoiser, schedule, latents)
        found = add("invert", method, inverting, lambda result: result.calls)
    add("edit", None, lambda: sample(denoiser, schedule, found.noise), lambda result: len(schedule))
    add("decode", None, lambda: model.decode(latents), lambda result: 0)
    if model.tiny is not None:
        add("preview", None, lambda: model.preview(latents), lambda result: 0)

    about = environment(device)
    most = peak(about["device"], model.network.dtype)
    gflop = flops.get_total_flops() / 1e9
    first = next(each for each in stages if each.stage == "invert")
    return SpeedReport(
        name,
        str(model.network.dtype).removeprefix("torch."),
        steps,
        budget,
        tuple(latents.shape),
        sum(weight.numel() for weight in model.network.parameters()),
        repeats,
        bare,
        gflop,
        (first.calls + len(schedule)) * gflop / 1e3 / most if most else None,
        _peak_memory(device),
        tuple(stages),
        about,
    )


def peak(device: str, dtype: torch.dtype) -> float | None:
    """TFLOP/s that a device of this name is stated to reach; None where that is not known, and for float32.

    >>> peak("NVIDIA H100 PCIe", torch.bfloat16)
    756.0
    """
    return PEAKS.get(device) if dtype in (torch.bfloat16, torch.float16) else None


@torch.no_grad()
def _row(call: Callable[[], torch.Tensor]) -> None:
    """Several calls in a row, as a loop makes them."""
    for _ in range(ROW):
        call()


def _timed(work: Callable[[], Any], repeats: int, device: torch.device) -> tuple[Any, list[float]]:
    """What `work` returns, and the seconds of each repeat after a first one."""
    result, seconds = work(), []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        result = work()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return result, seconds


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _peak_memory(device: torch.device) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if device.type != "cpu" or sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
