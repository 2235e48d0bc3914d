"""Measurements on disk, one JSON object a line, typed when they are written and when they are read.

A file holds records of two kinds: ``{"run": …}``, the :class:`Run` of the lines after it, and
``{"image": …, "configuration": …, "measurement": …}``. A line is on the disk before the next one is measured, so a
grid of measurements can be killed and continued.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from rnri_core.errors import RnriError

from rnri.evaluation.machine import Environment

_LOG = logging.getLogger(__name__)

C = TypeVar("C")
M = TypeVar("M")
T = TypeVar("T")
AnyKey = TypeVar("AnyKey", bound=int | str)

Key: TypeAlias = int | str
"""The number or name of a picture within its set."""

Progress = Callable[[int, int], None]
"""Called with the number of measurements that are done and of all."""


@dataclass(frozen=True)
class Run(Environment):
    """The environment of one run; ``tuned`` states how settings of methods were chosen, if they were."""

    tuned: str | None = None


@dataclass(frozen=True)
class Line(Generic[C, M]):
    """One measurement of one picture, with the configuration and the run that it was made in.

    Numbers that were not finite are infinite.
    """

    image: Key
    configuration: C
    measurement: M
    run: Run


@dataclass(frozen=True)
class Records(Generic[C, M]):
    """The lines of one benchmark.

    Attributes:
        file: name of the file in a folder of measurements.
        configuration: frozen dataclass of everything that is varied.
        measurement: dataclass of the result for one picture.
    """

    file: str
    configuration: type[C]
    measurement: type[M]

    def read(self, folder: Path) -> list[Line[C, M]]:
        """The lines in a folder, in the order of their measurement; none where there is no file.

        Raises:
            RnriError: for a line of something else or of another version, with its number.
        """
        path = folder / self.file
        return list(self._read(path)) if path.is_file() else []

    def extend(
        self,
        folder: Path,
        run: Run,
        images: Sequence[AnyKey],
        configurations: Sequence[C],
        measure: Callable[[C, Sequence[AnyKey]], Sequence[M]],
        *,
        batch: int = 1,
        progress: Progress | None = None,
        failed: Callable[[RnriError], None] | None = None,
    ) -> int:
        """Measure what a folder lacks of ``images`` × ``configurations``, the first images in all configurations first.

        Args:
            folder: an existing folder.
            run: where it is measured.
            images: keys of pictures.
            configurations: what to measure each of them in.
            measure: returns a measurement for each of up to ``batch`` pictures.
            batch: the most pictures that are measured at once.
            progress: called after each batch.
            failed: called with each ``RnriError`` of ``measure``, whose pictures are left to a later run.

        Returns:
            The number of new measurements. An unfinished last line, which a killed run leaves, is dropped.

        Raises:
            RnriError: for a file of something else, or one that another run is writing.
        """
        path = folder / self.file
        with path.open("ab+") as file:
            _lock(file, path)
            _drop_unfinished(file)
            done = {(line.image, line.configuration) for line in self._read(path)}
            jobs = []
            for start in range(0, len(images), batch):
                for configuration in configurations:
                    part = [image for image in images[start : start + batch] if (image, configuration) not in done]
                    if part:
                        jobs.append((configuration, part))
            missing, total = sum(len(part) for _, part in jobs), len(images) * len(configurations)
            if jobs:
                _append(file, [{"run": asdict(run)}])
            count = total - missing
            for configuration, part in jobs:
                try:
                    measured = measure(configuration, part)
                except RnriError as error:
                    if failed is None:
                        raise
                    failed(error)
                    missing -= len(part)
                else:
                    pairs = zip(part, measured, strict=True)
                    _append(file, [_record(image, configuration, each) for image, each in pairs])
                count += len(part)
                if progress:
                    progress(count, total)
        return missing

    def _read(self, path: Path) -> Iterator[Line[C, M]]:
        run: Run | None = None
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if not text.endswith(b"\n"):
                    _LOG.warning("%s, line %d, was not finished and is left out", path, number)
                    return
                try:
                    record = json.loads(text)
                    if set(record) == {"run"}:
                        run = from_json(Run, record["run"])
                        continue
                    if run is None or set(record) != {"image", "configuration", "measurement"}:
                        raise ValueError
                    configuration = from_json(self.configuration, record["configuration"])
                    yield Line(record["image"], configuration, from_json(self.measurement, record["measurement"]), run)
                except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                    raise RnriError(
                        f"{path}, line {number}, is not a measurement of this version",
                        hint="give another directory, or delete the line",
                    ) from None


def from_json(kind: Any, value: Any) -> Any:
    """A value of JSON as a type: a dataclass, a sequence, a mapping, a literal, an optional or a plain type.

    Args:
        kind: the type; a ``float`` may be null in JSON, for a number that is not finite.
        value: what :func:`json.loads` returns.

    Returns:
        The value; a null that should be a number is infinite.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: for a value of another type.

    >>> from_json(tuple[float, ...], [1, None]), from_json(float | None, None)
    ((1.0, inf), None)
    """
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: from_json(hints[name], each) for name, each in value.items()})  # type: ignore[operator]
    if origin is Literal and value in inner:
        return value
    if NoneType in inner:
        return None if value is None else from_json(inner[0], value)
    if origin in (list, tuple):
        kinds = inner if len(inner) > 1 and inner[-1] is not ... else inner[:1] * len(value)
        return origin(from_json(each, item) for each, item in zip(kinds, value, strict=True))
    if origin is Mapping:
        return {key: from_json(inner[1], each) for key, each in value.items()}
    if kind is float:
        return math.inf if value is None else float(value)
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind}")
    return value


def to_json(value: Any) -> str:
    """A dataclass, or plain values, as one line of JSON; numbers that are not finite are null."""
    return json.dumps(_finite(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value))


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def read_choice(kind: type[T], path: Path, hint: str) -> T:
    """A value that was left in a JSON file; ``RnriError`` with the hint where it is missing or damaged."""
    try:
        choice: T = from_json(kind, json.loads(path.read_text(encoding="utf-8")))
        return choice
    except OSError as error:
        raise RnriError(f"{path.parent} holds no {path.name}", hint=hint) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RnriError(f"{path} is damaged", hint=hint) from error


_hints: Callable[[Any], Mapping[str, Any]] = lru_cache(get_type_hints)


def _record(image: Key, configuration: Any, measurement: Any) -> dict[str, Any]:
    return {"image": image, "configuration": asdict(configuration), "measurement": asdict(measurement)}


def _append(file: BinaryIO, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records, and wait until they are on the disk."""
    file.write("".join(f"{to_json(record)}\n" for record in records).encode())
    file.flush()
    os.fsync(file.fileno())


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other runs out until the file is closed, where the system has locks."""
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


def _finite(value: Any) -> Any:
    """``value`` with ``None`` for numbers that JSON has no text for."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
