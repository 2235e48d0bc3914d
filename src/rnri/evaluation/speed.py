"""Seconds of each stage of an edit, beside the network calls that it consists of.

    overhead = 1 − calls · bare / seconds

is the share of a stage outside the network: `bare` are the seconds of one network call by itself, `calls` is the number
that the stage makes, an exact product counted as two.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.coupled import PairInversion
from rnri_core.inversion.inversion import Inversion, sample
from torch.utils.flop_counter import FlopCounterMode

from rnri.evaluation.machine import Environment, peak_memory, synchronize
from rnri.evaluation.records import to_json
from rnri.models import Condition, ModelAdapter

Progress = Callable[[str], None]
Result = TypeVar("Result")

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
"""Dense TFLOP/s in bfloat16 and float16 as their makers state them, by a device's whole name: H100s differ."""

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

    Attributes:
        model, dtype, steps, budget, repeats: what was measured.
        latents: shape (1, C, h, w).
        parameters: of the network.
        bare: seconds of a network call by itself.
        gflop: of a network call.
        floor: seconds of the first inversion and the edit at the device's stated peak; None where `peak` is.
        peak_memory_mb: of the device, or else of the process.
        stages: in order.
        environment: hardware and versions.
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
    environment: Environment

    def to_json(self) -> str:
        """One object on one line."""
        return to_json(self)


@dataclass(frozen=True)
class _Stopwatch:
    """Times stages on a device, each after a first run, and collects them; ``bare`` is a network call in seconds."""

    device: torch.device
    repeats: int
    bare: float
    progress: Progress
    stages: list[Stage] = field(default_factory=list)

    def time(self, stage: str, work: Callable[[], Result], calls: int = 0, solver: str | None = None) -> Result:
        """Time ``work``, which makes so many network calls unless it returns an inversion; returns its result."""
        self.progress(stage if solver is None else f"{stage} by {solver}")
        result, seconds = _timed(work, self.repeats, self.device)
        made = result.calls if isinstance(result, Inversion) else calls
        median = statistics.median(seconds)
        overhead = 1 - made * self.bare / median if made else None
        self.stages.append(Stage(stage, solver, median, min(seconds), max(seconds), made, overhead))
        return result


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
    """Time the stages of an edit: embedding, encoding, inverting with each solver, sampling and decoding.

    Args:
        name: of the model, for the report.
        model: any.
        condition: the embedded prompt; embedding is timed where it has one.
        solvers: presets and specs.
        steps: of the schedule.
        budget: iterations per step; there is no tolerance.
        size: (height, width) in pixels; the model's own.
        repeats: how often each stage is timed, after a first run.
        progress: called with the name of each stage.

    Returns:
        The report. The edit is plain sampling from the noise of the last inversion, without guidance or controls.
    """
    device, shape = model.device, model.latent_shape(size or model.image_size)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, *shape, generator=generator).to(device)
    schedule = model.schedule(steps, generator=generator, shape=shape)
    m, call = model.denoiser(condition), model.bare(condition, latents, schedule[0].t)
    with peak_memory(device) as memory:
        progress("one call")
        with torch.no_grad(), FlopCounterMode(display=False) as flops:
            call()
        bare = statistics.median(_timed(lambda: _row(call), repeats, device)[1]) / ROW
        watch, image = _Stopwatch(device, repeats, bare, progress), torch.zeros(1, 3, *(size or model.image_size))
        if any(condition.prompts):
            watch.time("embed", lambda: model.embed(condition.prompts))
        watch.time("encode", lambda: model.encode(image))
        for spec in solvers:
            inverter = InversionConfig(inverter=spec, iterations=budget).inverter_for(schedule)
            invert: Callable[[], Inversion | PairInversion] = partial(inverter.invert, m, schedule, latents)
            noise = watch.time("invert", invert, solver=spec).noise
        watch.time("edit", lambda: sample(m, schedule, noise), len(schedule))
        watch.time("decode", lambda: model.decode(latents))
        if model.tiny is not None:
            watch.time("preview", lambda: model.preview(latents))
    environment, gflop = Environment.of(device), flops.get_total_flops() / 1e9
    most = peak(environment.device, model.network.dtype)
    first = next(each for each in watch.stages if each.stage == "invert")
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
        memory[0] if memory else None,
        tuple(watch.stages),
        environment,
    )


def peak(device: str, dtype: torch.dtype) -> float | None:
    """Stated TFLOP/s of a device of this name; None where they are not known, and for float32.

    >>> peak("NVIDIA H100 PCIe", torch.bfloat16)
    756.0
    """
    return PEAKS.get(device) if dtype in (torch.bfloat16, torch.float16) else None


@torch.no_grad()
def _row(call: Callable[[], torch.Tensor]) -> None:
    """Several calls in a row, as a loop makes them."""
    for _ in range(ROW):
        call()


def _timed(work: Callable[[], Result], repeats: int, device: torch.device) -> tuple[Result, list[float]]:
    """What `work` returns, and the seconds of each repeat after a first one."""
    result, seconds = work(), []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        result = work()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return result, seconds
