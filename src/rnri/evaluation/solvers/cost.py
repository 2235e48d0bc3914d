"""What an inversion takes: network calls, seconds, the share of them outside the network, memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from rnri_core.sampling.steps import Denoiser
from rnri_core.solvers.equation import calls
from torch import Tensor


class Counted(Protocol):
    """What counts network calls and exact products."""

    @property
    def nfe(self) -> int: ...
    @property
    def njvp(self) -> int: ...
    @property
    def nvjp(self) -> int: ...


Found = TypeVar("Found", bound=Counted)


@dataclass(frozen=True)
class Cost:
    """What the inversion of one picture took.

    ``calls`` is nfe + 2·njvp + 2·nvjp. ``seconds`` are those of the whole ``batch`` divided by its size; ``overhead``
    is the share of them outside the network, where it can be told; ``memory_mb`` is the peak, of the device or else
    of the process.
    """

    nfe: int
    njvp: int
    nvjp: int
    calls: int
    batch: int
    seconds: float
    overhead: float | None
    memory_mb: float | None


def measured(invert: Callable[[Denoiser], Found], m: Denoiser, like: Tensor) -> tuple[Found, Cost]:
    """What ``invert`` finds with the network ``m``, and what that took; ``like`` (B, …) says where and of how many."""
    clock, device = _Clock(m), like.device
    with _peak_memory(device) as memory:
        _wait(device)
        begin = time.perf_counter()
        found = invert(clock)
        _wait(device)
        seconds = time.perf_counter() - begin
    told = device.type == "cpu" and not found.njvp + found.nvjp
    return found, Cost(
        nfe=found.nfe,
        njvp=found.njvp,
        nvjp=found.nvjp,
        calls=calls(found.nfe, found.njvp, found.nvjp),
        batch=len(like),
        seconds=seconds / len(like),
        overhead=1 - clock.seconds / seconds if told else None,
        memory_mb=memory[0] if memory else None,
    )


class _Clock:
    """A denoiser that adds up the seconds spent in it; meaningful where calls end before they return."""

    def __init__(self, m: Denoiser) -> None:
        self.m, self.seconds = m, 0.0

    def __call__(self, z: Tensor, t: float) -> Tensor:
        begin = time.perf_counter()
        output = self.m(z, t)
        self.seconds += time.perf_counter() - begin
        return output


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[float]]:
    """A list that gets the most memory in use during the block, in MB; it stays empty where that cannot be told."""
    peak: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.append(torch.cuda.max_memory_allocated(device) / 1e6)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    except OSError:
        yield peak
        return
    yield peak
    lines = Path("/proc/self/status").read_text().splitlines()
    peak += [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")]
