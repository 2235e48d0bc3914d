"""A user's own pictures: a CSV or JSONL file of image, source, target and, where there is one, mask."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnri_core.errors import RnriError
from torch import Tensor

from rnri import images
from rnri.evaluation.datasets.dataset import Dataset, Task, digest
from rnri.evaluation.records import Key


@dataclass(frozen=True)
class FolderEdit:
    """One edit, with the paths of its picture and mask."""

    image: Path
    source: str
    target: str
    mask: Path | None


class Folder(Dataset):
    """The edits of a file: ``.csv`` with a line of heads, or ``.jsonl`` with an object a line.

    ``image`` and ``mask`` are paths, relative to the file; a mask is light where the picture may change. ``source`` and
    ``target`` are prompts. Other columns are ignored. A task's key is a digest of its row and its files, so rows may be
    added and moved, and a row that changes is another task. Raises ``RnriError`` for a missing file or column and for
    a repeated row.
    """

    name = "folder"
    metrics = ("clip", "clip-edited", "structure", "psnr-background", "ssim-background", "lpips-squeeze-background")
    goal, keep, pixels, rank = "clip", "structure", "psnr-background", "clip"
    bounds = ("unedited", "autoencoded")

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, dict[Key, FolderEdit]()
        for number, record in _read(file):
            place = f"{file}, line {number}"
            row = _row(record, file.parent, place)
            key = _key(row, place)
            if key in self.rows:
                raise RnriError(f"{place} repeats a line above", hint="delete one of them")
            self.rows[key] = row
        if not self.rows:
            raise RnriError(f"{file} has no edits", hint="give at least one line of image, source, target")

    @property
    def about(self) -> str:
        """The name of the file; its tasks have keys by contents."""
        return self.file.name

    @property
    def keys(self) -> Sequence[Key]:
        """The name of each picture, and a digest of its task."""
        return list(self.rows)

    def task(self, key: Key) -> Task:
        """The edit of this key."""
        row = self.rows[key]
        source = images.read(row.image)
        return Task(key, source, row.source, row.target, mask=_mask(row.mask, source) if row.mask else None)


def _read(file: Path) -> list[tuple[int, Mapping[str, str]]]:
    """Records with the number of their line."""
    if file.suffix.lower() not in (".csv", ".jsonl"):
        raise RnriError(
            f"{file} is no list of edits", hint="give a .csv or .jsonl file of image, source, target[, mask]"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RnriError(f"{file} cannot be read", hint=f"{error}") from error
    if file.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
        return [(reader.line_num, record) for record in reader]
    records: list[tuple[int, Mapping[str, str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                records.append((number, dict(json.loads(line))))
            except (ValueError, TypeError, RecursionError) as error:
                raise RnriError(f"{file}, line {number} is no object", hint='give {"image": …, "source": …}') from error
    return records


def _row(record: Mapping[str, str], folder: Path, place: str) -> FolderEdit:
    for name in ("image", "source", "target"):
        if not isinstance(record.get(name), str) or not record[name].strip():
            raise RnriError(f"{place} has no {name}", hint="give image, source and target, and mask if there is one")
    masked = record.get("mask")
    return FolderEdit(folder / record["image"], record["source"], record["target"], folder / masked if masked else None)


def _key(row: FolderEdit, place: str) -> Key:
    try:
        contents = [path.read_bytes() for path in (row.image, row.mask) if path]
    except OSError as error:
        raise RnriError(f"{place}: {error.filename} cannot be read", hint=f"{error.strerror}") from error
    return f"{row.image.stem}-{digest([*contents, row.source.encode(), row.target.encode()])}"


def _mask(path: Path, source: Tensor) -> Tensor:
    """(1, 1, H, W) of bool."""
    read = images.read(path)
    if read.shape[2:] != source.shape[2:]:
        (height, width), (wanted, across) = read.shape[2:], source.shape[2:]
        raise RnriError(
            f"{path} is {width}×{height} and its picture {across}×{wanted}", hint="give a mask of the same size"
        )
    return read.mean(1, keepdim=True) > 0
