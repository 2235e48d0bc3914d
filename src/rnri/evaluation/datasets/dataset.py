"""Sets of edits: tasks by key, and the metrics of their results."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import ClassVar, Literal

from rnri_core.errors import RnriError
from torch import Tensor

from rnri.evaluation.records import Key
from rnri.metrics import Judged
from rnri.scenes.attributes import Attribute

Bound = Literal["unedited", "autoencoded"]
"""Measured beside the methods: the source unchanged; the truth, or else the source, after the autoencoder alone."""


@dataclass(frozen=True, eq=False)
class Task:
    """One edit.

    Attributes:
        key: its number or name in the set.
        source: the picture, (1, 3, H, W) in [-1, 1].
        source_prompt, target_prompt: its prompt, and that of the edit.
        kind: of the edit, "" where all are alike.
        truth, mask, before, after: see :class:`rnri.metrics.Judged`.
    """

    key: Key
    source: Tensor
    source_prompt: str
    target_prompt: str
    kind: str = ""
    truth: Tensor | None = None
    mask: Tensor | None = None
    before: tuple[Attribute, ...] | None = None
    after: tuple[Attribute, ...] | None = None

    def judged(self, image: Tensor) -> Judged:
        """A result, with everything that metrics compare it with."""
        return Judged(
            image,
            self.source,
            self.truth,
            self.mask,
            self.source_prompt,
            self.target_prompt,
            self.before,
            self.after,
        )


class Dataset(ABC):
    """A set of tasks, read lazily.

    Attributes:
        name: of the set.
        metrics: names of :data:`rnri.metrics.METRICS` that are measured by default; one that is undefined for every
            picture is left out of the report.
        goal, keep: the metrics of success and of what should stay, which a figure compares.
        pixels: the metric that a figure shows over cost.
        rank: the metric that examples are ordered by.
        bounds: measured beside the methods.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    goal: ClassVar[str | None]
    keep: ClassVar[str]
    pixels: ClassVar[str]
    rank: ClassVar[str]
    bounds: ClassVar[tuple[Bound, ...]]

    @property
    @abstractmethod
    def about(self) -> str:
        """A description for the report, which is different for other contents."""

    @property
    @abstractmethod
    def keys(self) -> Sequence[Key]:
        """Keys of the tasks, in an order whose beginning is a fair sample."""

    @abstractmethod
    def task(self, key: Key) -> Task:
        """The task of a key. Raises ``RnriError`` for a picture that is missing or damaged."""


def in_turn(groups: Mapping[str, Sequence[Key]]) -> list[Key]:
    """The members of all groups, one of each in turn, so that the beginning has some of every group.

    >>> in_turn({"a": [1, 2, 3], "b": [4]})
    [1, 4, 2, 3]
    """
    return [key for key in chain.from_iterable(zip_longest(*groups.values())) if key is not None]


def digest(parts: Iterable[bytes]) -> str:
    """Eight characters that are different for other contents."""
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(len(part).to_bytes(8, "big") + part)
    return sha256.hexdigest()[:8]


def contents(path: Path, hint: str) -> bytes:
    """The bytes of a file; ``RnriError`` with the hint where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RnriError(f"{path} cannot be read", hint=hint) from error
