"""The machine that something is measured on: hardware and versions, waiting for devices, memory."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Self

import torch

_LIBRARIES = ("rnri", "torch", "diffusers", "transformers", "numpy")


@dataclass(frozen=True)
class Environment:
    """Hardware and versions, which seconds and megabytes depend on; ``started`` is a date and time in UTC."""

    started: str
    device: str
    threads: int
    system: str
    python: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, device: torch.device) -> Self:
        """The environment of this process, whose networks run on ``device``.

        >>> Environment.of(torch.device("cpu")).device
        'cpu, ... cores'
        """
        return cls(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {_processor()}",
            threads=torch.get_num_threads(),
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            versions={library: version(library) for library in _LIBRARIES},
        )


def synchronize(device: torch.device) -> None:
    """Wait until everything that was queued on a device has run."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[float]]:
    """A list that receives the peak memory of the block in MB: of the device, or else of the process.

    It stays empty where the system does not report a peak. Where it cannot be reset, it is that of the whole run.
    """
    peak: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.append(torch.cuda.max_memory_allocated(device) / 1e6)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak, on Linux
    yield peak
    with suppress(ImportError):  # not a Unix
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
        peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def resident_memory() -> float | None:
    """Resident memory of this process in MiB; ``None`` where the system does not report it."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if pages.is_file() else None


def _processor() -> str:
    """Name of the CPU and number of its cores."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name or platform.machine()}, {os.cpu_count()} cores"
