"""Wall-clock seconds of the stages of inversions and edits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

Stage = Literal["load", "encode", "invert", "edit", "decode"]


@dataclass
class Timings:
    """Wall-clock seconds by stage, summed over all calls that get it.

    >>> timings = Timings()
    >>> with timings.measure("edit"):
    ...     pass
    >>> 0 <= timings.edit < 1, timings.load
    (True, 0.0)
    """

    load: float = 0.0
    encode: float = 0.0
    invert: float = 0.0
    edit: float = 0.0
    decode: float = 0.0

    @contextmanager
    def measure(self, stage: Stage, device: torch.device | None = None) -> Iterator[None]:
        """Add the time of the block to a stage, having waited for the device before and after."""
        _wait(device)
        start = time.perf_counter()
        try:
            yield
            _wait(device)
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - start)


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type != "cpu":
        torch.accelerator.synchronize(device)
