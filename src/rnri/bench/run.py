"""A grid of measurements that may be killed and continued: a line of JSON for each picture and configuration.

A file holds records of two kinds, one a line: `{"run": …}`, what the lines after it were measured with and on, and
`{"image": …, "configuration": …, "measurement": …}`. A line is on the disk before the next is measured.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

Configuration = TypeVar("Configuration")
"""A frozen dataclass of plain values: one setting of everything that is varied."""

Progress = Callable[[int, int], None]
"""Called with how many measurements there are and how many there will be."""

_LIBRARIES = ("rnri", "torch", "diffusers", "transformers", "numpy")


@dataclass(frozen=True)
class Line:
    """One measurement of one picture, with the settings it was made with and the ``run`` it was made in.

    Numbers that were not finite are ``None``.
    """

    image: int
    configuration: Mapping[str, Any]
    measurement: Mapping[str, Any]
    run: Mapping[str, Any]


def environment(device: torch.device) -> dict[str, Any]:
    """Hardware and versions: what seconds and megabytes depend on."""
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {_processor()}",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {library: version(library) for library in _LIBRARIES},
    }


def run(
    path: Path,
    about: Mapping[str, Any],
    images: Sequence[int],
    configurations: Sequence[Configuration],
    measure: Callable[[Configuration, Sequence[int]], Sequence[Any]],
    *,
    batch: int = 1,
    progress: Progress | None = None,
) -> int:
    """Add to the file at ``path`` what it lacks of ``images`` × ``configurations``; returns how many that were.

    ``measure`` gets a configuration and up to ``batch`` images that lack it, and returns a dataclass for each. All
    configurations of the first images come first. ``about`` describes the run. What a killed run left unfinished, at
    most one line, is dropped. Raises ``ValueError`` for a file that is something else.
    """
    _drop_unfinished(path)
    done = {(line.image, _key(line.configuration)) for line in read(path)} if path.exists() else set()
    wanted = [(image, configuration) for image in images for configuration in configurations]
    total = len(wanted)
    missing = sum((image, _key(asdict(each))) not in done for image, each in wanted)  # type: ignore[call-overload]
    count = total - missing
    if not missing:
        return 0
    with path.open("ab") as file:
        _append(file, [{"run": about}])
        for start in range(0, len(images), batch):
            for configuration in configurations:
                settings = asdict(configuration)  # type: ignore[call-overload]
                part = [image for image in images[start : start + batch] if (image, _key(settings)) not in done]
                if not part:
                    continue
                measured = measure(configuration, part)
                records = [
                    {"image": image, "configuration": settings, "measurement": _finite(asdict(each))}
                    for image, each in zip(part, measured, strict=True)
                ]
                _append(file, records)
                count += len(part)
                if progress:
                    progress(count, total)
    return missing


def read(path: Path) -> Iterator[Line]:
    """The measurements in a file, in the order they were made; ``ValueError`` in one line if it is something else."""
    about: Mapping[str, Any] = {}
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            record = _parse(text, f"{path}, line {number},")
            if "run" in record:
                about = record["run"]
            else:
                yield Line(record["image"], record["configuration"], record["measurement"], about)


def _parse(text: str, place: str) -> dict[str, Any]:
    """The record on one line."""
    try:
        record = json.loads(text)
        if set(record) in ({"run"}, {"image", "configuration", "measurement"}):
            return dict(record)
    except (ValueError, TypeError):
        pass
    raise ValueError(f"{place} is not a measurement: give another directory, or delete the line")


def _append(file: Any, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the records, and wait until they are on the disk."""
    file.write("".join(f"{json.dumps(record, allow_nan=False)}\n" for record in records).encode())
    file.flush()
    os.fsync(file.fileno())


def _drop_unfinished(path: Path) -> None:
    """Cut off what follows the last end of a line."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _key(configuration: Mapping[str, Any]) -> str:
    return json.dumps(configuration, sort_keys=True)


def _finite(value: Any) -> Any:
    """``value`` with ``None`` for what is not finite, which JSON cannot say."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _processor() -> str:
    """The name of the CPU and how many of its cores are there."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name or platform.machine()}, {os.cpu_count()} cores"
