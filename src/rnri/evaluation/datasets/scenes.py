"""Edits of the embedded scenes, with a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from rnri import images
from rnri.evaluation.datasets.dataset import Dataset, Task, digest
from rnri.evaluation.records import Key
from rnri.scenes.attributes import attributes
from rnri.scenes.edits import PIE_BENCH_TYPES, Edit
from rnri.scenes.splits import Split, split_edits

TYPES = (
    "random",
    "change object",
    "add object",
    "delete object",
    "change content",
    "change pose",
    "change colour",
    "change material",
    "change background",
    "change style",
)
"""PIE-Bench's types of edit, by number."""


class Scenes(Dataset):
    """The first ``count`` edits of a split, of all kinds in turn, rendered ``side`` pixels high and wide.

    >>> edits = Scenes("heldout", 3, 64)
    >>> edits.task(1).kind, edits.task(1).source.shape
    ('2 add object', torch.Size([1, 3, 64, 64]))
    """

    name = "scenes"
    metrics = (
        "psnr",
        "ssim",
        "reader-distance",
        "psnr-background",
        "ssim-background",
        "reader-distance-background",
        "target-accuracy",
        "leakage",
    )
    goal, keep, pixels, rank = "target-accuracy", "psnr-background", "psnr", "reader-distance"
    bounds = ("unedited", "autoencoded")

    def __init__(self, split: Split, count: int, side: int) -> None:
        self.split, self.side = split, side
        self.edits: tuple[Edit, ...] = split_edits(split, count)

    @property
    def about(self) -> str:
        """The split, and a digest of its first pictures: another renderer makes another set."""
        return f"{self.split} edits at {self.side}×{self.side}, world {self._world}"

    @cached_property
    def _world(self) -> str:
        pictures = [edit.images(32) for edit in split_edits(self.split, 3)]
        return digest(part.tobytes() for each in pictures for part in (each.source, each.target))

    @property
    def keys(self) -> Sequence[Key]:
        """The number of each edit in its split."""
        return range(len(self.edits))

    def task(self, key: Key) -> Task:
        """The edit of this number."""
        edit = self.edits[int(key)]
        pictures = edit.images(self.side)
        number = PIE_BENCH_TYPES[edit.kind]
        return Task(
            key,
            images.read(pictures.source),
            edit.source_prompt,
            edit.target_prompt,
            f"{number} {TYPES[number]}",
            truth=images.read(pictures.target),
            mask=torch.from_numpy(pictures.mask)[None, None],
            before=attributes(edit.source),
            after=attributes(edit.target),
        )
