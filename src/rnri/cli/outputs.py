"""Paths of results, and checks before any work is done that they can be written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rnri_core.errors import RnriError

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
ANIMATIONS = (".webp", ".gif", ".apng")
STORED = (".safetensors",)


def numbered(path: Path, count: int) -> list[Path]:
    """The path itself for one result; for several the names out-1.png, out-2.png, …

    >>> [path.name for path in numbered(Path("out.png"), 2)]
    ['out-1.png', 'out-2.png']
    """
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(1, count + 1)]


def check(paths: Sequence[Path], *, suffixes: Sequence[str] = PICTURES, force: bool = False) -> None:
    """Raise ``RnriError`` unless every one of these files can be written; nothing is written."""
    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise RnriError(f"cannot write {path}", hint=f"its suffix is {path.suffix!r}, use {', '.join(suffixes)}")
        if path.is_dir():
            raise RnriError(f"cannot write {path}", hint="it is a directory, give a file name")
        if not path.parent.is_dir():
            raise RnriError(f"cannot write {path}", hint=f"there is no directory {path.parent}, create it first")
        _check_writable(path, path.parent)
        if path.exists() and not force:
            raise RnriError(f"{path} exists", hint="choose another name, or overwrite it with --force")
    for n, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:n]]:
            raise RnriError(f"{path} is the path of two results", hint="give every result its own name")


def check_folder(folder: Path, names: Sequence[str], *, force: bool = False) -> list[Path]:
    """The paths of these files in a folder that need not exist yet; ``RnriError`` as :func:`check` raises it."""
    if folder.is_dir():
        paths = [folder / name for name in names]
        check(paths, force=force)
        return paths
    if folder.exists():
        raise RnriError(f"cannot write to {folder}", hint="it is a file, give a directory")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir():
        raise RnriError(f"cannot create {folder}", hint=f"{above} is a file, choose another directory")
    _check_writable(folder, above)
    return [folder / name for name in names]


def check_directory(folder: Path) -> None:
    """Raise ``RnriError`` where a file is in the place of a folder."""
    if folder.exists() and not folder.is_dir():
        raise RnriError(f"{folder} is a file", hint="give a directory")


def _check_writable(path: Path, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RnriError(f"cannot write {path}", hint=f"no permission to write in {folder}, choose another directory")
