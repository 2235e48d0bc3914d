"""Files of inversions: safetensors with a JSON header and a checksum, version 2; version 1 is read as well."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion, Provenance, Trajectory
from rnri_core.sampling.steps import Step
from rnri_core.solvers.solve import Solution, Status

FORMAT, FORMAT_1 = "rnri inversion 2", "rnri inversion 1"
_KEY = "rnri"
_SOLUTION = ("residual", "residuals", "codes")
_COUNTS = ("nfe", "njvp", "nvjp")
_TUPLES = ("levels", "effective", "dense")


def save(inversion: Inversion, path: str | os.PathLike[str]) -> None:
    """Write an inversion to ``path``, whole or not at all; :func:`load` reads it back to the same bits.

    >>> import tempfile
    >>> from rnri_core.inversion.presets import invert
    >>> from rnri_core.sampling.schedules import flow
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z
    >>> inversion = invert(m, steps, torch.ones(1, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(inversion, f"{folder}/ball.safetensors")
    ...     load(f"{folder}/ball.safetensors").noise.equal(inversion.noise)
    True
    """
    tensors = _tensors(inversion)
    header = {
        "format": FORMAT,
        "steps": [_numbers(step) for step in inversion.schedule],
        "solutions": [{name: getattr(solution, name) for name in _COUNTS} for solution in inversion.solutions],
        "provenance": asdict(inversion.provenance),
    }
    header["sha256"] = _checksum(tensors, header)
    _write(Path(path), safetensors.torch.save(tensors, {_KEY: json.dumps(header)}))


def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Inversion:
    """Read an inversion that :func:`save`, or ``Inversion.save`` of 0.1, wrote.

    Args:
        path: the file.
        device: where its tensors are put.

    Raises:
        FileNotFoundError: where there is no file.
        RnriError: where the file is damaged, or is no inversion.
    """
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["format"] == FORMAT:
            if header.pop("sha256") != _checksum(tensors, header):
                raise ValueError("its checksum is another")
            inversion = _version_2(header, tensors)
        elif header["format"] == FORMAT_1:
            inversion = _version_1(header, tensors)
        else:
            raise ValueError(f"its format is {header['format']!r}, not {FORMAT!r}")
    except FileNotFoundError:
        raise
    except (safetensors.SafetensorError, LookupError, AttributeError, TypeError, ValueError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise RnriError(f"{os.fspath(path)} cannot be read ({reason})", hint="invert the image again") from error
    if header["format"] == FORMAT_1:
        warnings.warn(f"{os.fspath(path)} is of rnri 0.1, without a checksum: save it again", stacklevel=3)
    return _moved(inversion, torch.device(device))


def _numbers(step: Step) -> dict[str, Any]:
    numbers = asdict(replace(step, c=None))
    del numbers["c"]
    return numbers


def _tensors(inversion: Inversion) -> dict[str, Tensor]:
    tensors = {f"{k}.latents": latents for k, latents in enumerate(inversion.latents)}
    tensors |= {f"{k}.c": step.c for k, step in enumerate(inversion.schedule) if step.c is not None}
    tensors |= {f"{k}.noise_map": each for k, each in enumerate(inversion.noise_maps or ())}
    for k, solution in enumerate(inversion.solutions):
        tensors |= {f"{k}.{name}": getattr(solution, name) for name in _SOLUTION}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _checksum(tensors: dict[str, Tensor], header: dict[str, Any]) -> str:
    """SHA-256 of the header without its checksum, and of every tensor's name, shape, dtype and bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _version_2(header: dict[str, Any], tensors: dict[str, Tensor]) -> Inversion:
    schedule = _schedule(header["steps"], tensors)
    solutions = tuple(_solution(k, counts, tensors) for k, counts in enumerate(header["solutions"]))
    return _assembled(schedule, solutions, "noise_map", tensors, header["provenance"])


def _version_1(header: dict[str, Any], tensors: dict[str, Tensor]) -> Inversion:
    counts = [{name: numbers.pop(name) for name in _COUNTS} for numbers in header["steps"]]
    schedule = _schedule(header["steps"], tensors)
    solutions = tuple(_solution(k, each, tensors) for k, each in enumerate(counts))
    solved = not any(Status.NOT_SOLVED in solution.status for solution in solutions)
    known = {name: header[name] for name in ("prompt", "model", "size", "guidance", "seed")} | {"solved": solved}
    return _assembled(schedule, solutions if solved else (), "correction", tensors, known)


def _schedule(steps: list[dict[str, Any]], tensors: dict[str, Tensor]) -> tuple[Step, ...]:
    whole = [numbers | {name: tuple(numbers[name]) for name in _TUPLES} for numbers in steps]
    return tuple(Step(c=tensors.get(f"{k}.c"), **numbers) for k, numbers in enumerate(whole))


def _solution(k: int, counts: dict[str, int], tensors: dict[str, Tensor]) -> Solution:
    parts: dict[str, Any] = {name: tensors[f"{k}.{name}"] for name in _SOLUTION} | counts
    return Solution(z=tensors[f"{k}.latents"], **parts)


def _assembled(
    schedule: tuple[Step, ...],
    solutions: tuple[Solution, ...],
    maps: str,
    tensors: dict[str, Tensor],
    provenance: dict[str, Any],
) -> Inversion:
    steps = range(len(schedule))
    latents = tuple(tensors[f"{k}.latents"] for k in range(len(schedule) + 1))
    noise_maps = tuple(tensors[f"{k}.{maps}"] for k in steps) if f"0.{maps}" in tensors else None
    size = provenance["size"]
    known = Provenance(**{**provenance, "size": None if size is None else (int(size[0]), int(size[1]))})
    return Inversion(Trajectory(schedule, latents, noise_maps), solutions, known)


def _moved(inversion: Inversion, device: torch.device) -> Inversion:
    if device.type == "cpu":
        return inversion
    steps = tuple(step if step.c is None else replace(step, c=step.c.to(device)) for step in inversion.schedule)
    moved = inversion.mapped(lambda x, _: x.to(device))
    return replace(moved, trajectory=replace(moved.trajectory, schedule=steps))


def _write(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
