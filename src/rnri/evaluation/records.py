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
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import torch
from rnri_core.errors import RnriError

AnyKey = TypeVar("AnyKey", bound=int | str)
Configuration = TypeVar("Configuration")
"""A frozen dataclass of plain values: one setting of everything that is varied."""

Key: TypeAlias = int | str
"""What a picture is called within its set: its number, or a name."""

Progress = Callable[[int, int], None]
"""Called with how many measurements there are and how many there will be."""

_LIBRARIES = ("rnri", "torch", "diffusers", "transformers", "numpy")


@dataclass(frozen=True)
class Line:
    """One measurement of one picture, with the settings it was made with and the ``run`` it was made in.

    Numbers that were not finite are ``None``.
    """

    image: Key
    configuration: Mapping[str, Any]
    measurement: Mapping[str, Any]
    run: Mapping[str, Any]


def environment(device: torch.device) -> dict[str, Any]:
    """Hardware and versions: what seconds and megabytes depend on."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {_processor()}",
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {library: version(library) for library in _LIBRARIES},
    }


def run(
    path: Path,
    about: Mapping[str, Any],
    images: Sequence[AnyKey],
    configurations: Sequence[Configuration],
    measure: Callable[[Configuration, Sequence[AnyKey]], Sequence[Any]],
    *,
    batch: int = 1,
    progress: Progress | None = None,
    failed: Callable[[RnriError], None] | None = None,
) -> int:
    """Add to the file at ``path`` what it lacks of ``images`` × ``configurations``; returns how many that were.

    ``measure`` gets a configuration and up to ``batch`` images that lack it, and returns a dataclass for each. All
    configurations of the first images come first. ``about`` describes the run. ``failed``, if given, gets each
    ``RnriError`` of ``measure``; its images are left to a later run. What a killed run left unfinished, at most one
    line, is dropped. Raises ``ValueError`` for a file that is something else, or that another run is writing.
    """
    with path.open("ab+") as file:
        _claim(file, path)
        _drop_unfinished(file)
        done = {(line.image, _key(line.configuration)) for line in read(path)}
        settings = [(each, asdict(each)) for each in configurations]  # type: ignore[call-overload]
        jobs = []
        for start in range(0, len(images), batch):
            for configuration, plain in settings:
                part = [image for image in images[start : start + batch] if (image, _key(plain)) not in done]
                if part:
                    jobs.append((configuration, plain, part))
        missing, total = sum(len(part) for _, _, part in jobs), len(images) * len(configurations)
        if jobs:
            _append(file, [{"run": about}])
        count = total - missing
        for configuration, plain, part in jobs:
            try:
                measured = list(zip(part, measure(configuration, part), strict=True))
            except RnriError as error:
                if failed is None:
                    raise
                failed(error)
                measured, missing = [], missing - len(part)
            _append(
                file,
                [
                    {"image": image, "configuration": plain, "measurement": _finite(asdict(each))}
                    for image, each in measured
                ],
            )
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
    raise RnriError(f"{place} is not a measurement", hint="give another directory, or delete the line")


def _append(file: BinaryIO, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the records, and wait until they are on the disk."""
    file.write("".join(f"{json.dumps(record, allow_nan=False)}\n" for record in records).encode())
    file.flush()
    os.fsync(file.fileno())


def _claim(file: BinaryIO, path: Path) -> None:
    """Keep other runs out until the file is closed, where the system has locks for that."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RnriError(f"another run is writing {path}", hint="wait for it, or give another directory") from None


def _drop_unfinished(file: BinaryIO) -> None:
    """Cut off what follows the last end of a line."""
    file.seek(0)
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
