"""What an inversion takes: network calls, seconds, the share of them outside the network, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rnri_core.sampling.steps import Denoiser
from rnri_core.solvers.equation import calls
from torch import Tensor

from rnri.evaluation.machine import peak_memory, synchronize


class Counted(Protocol):
    """An object that has counted network calls and exact products."""

    @property
    def nfe(self) -> int: ...
    @property
    def njvp(self) -> int: ...
    @property
    def nvjp(self) -> int: ...


Result = TypeVar("Result", bound=Counted)


@dataclass(frozen=True)
class InversionCost:
    """What the inversion of one picture took.

    Attributes:
        nfe, njvp, nvjp: network evaluations and exact products.
        calls: nfe + 2·njvp + 2·nvjp.
        batch: pictures inverted at once.
        seconds: of the whole batch, divided by its size.
        overhead: share of the seconds outside the network, 0 to 1; ``None`` on devices that run calls after they
            return, and with exact products.
        memory_mb: peak of the device, or else of the process.
    """

    nfe: int
    njvp: int
    nvjp: int
    calls: int
    batch: int
    seconds: float
    overhead: float | None
    memory_mb: float | None


def measured(invert: Callable[[Denoiser], Result], m: Denoiser, like: Tensor) -> tuple[Result, InversionCost]:
    """What ``invert`` returns for the network ``m``, and its cost; ``like`` (B, …) has the device and batch size."""
    clock, device = _Clock(m), like.device
    with peak_memory(device) as memory:
        synchronize(device)
        begin = time.perf_counter()
        result = invert(clock)
        synchronize(device)
        seconds = time.perf_counter() - begin
    timed = device.type == "cpu" and not result.njvp + result.nvjp
    return result, InversionCost(
        nfe=result.nfe,
        njvp=result.njvp,
        nvjp=result.nvjp,
        calls=calls(result.nfe, result.njvp, result.nvjp),
        batch=len(like),
        seconds=seconds / len(like),
        overhead=1 - clock.seconds / seconds if timed else None,
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
