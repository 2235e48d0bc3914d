"""What a set of edits is: tasks by key, and which metrics say how well they were done."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import ClassVar, Literal

from torch import Tensor

from rnri.evaluation.records import Key
from rnri.metrics import Judged
from rnri.scenes.attributes import Attribute

Bound = Literal["unedited", "autoencoded"]
"""What is measured beside the methods: the source as it is; the truth, or else the source, after the autoencoder."""


@dataclass(frozen=True, eq=False)
class Task:
    """One edit: the picture ``source``, (1, 3, H, W) in [-1, 1], which shows one prompt and is to show another.

    ``kind`` is what sort of edit it is, "" where all are alike. The rest is as in :class:`rnri.metrics.Judged`.
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
        """What came of it, and what it is judged by."""
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
    """A set of tasks, read lazily. What it is judged by are names of :data:`rnri.metrics.METRICS`.

    ``metrics`` are measured unless others are asked for; ``goal`` says whether the edit was made, ``keep`` whether the
    rest stayed, ``pixels`` is what is drawn over cost, and ``rank`` is what examples are ordered by. A metric that
    can be told of none of its pictures is left out of the report.
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
        """Which pictures these are, for the report and for telling sets apart; other contents, another text."""

    @property
    @abstractmethod
    def keys(self) -> Sequence[Key]:
        """What the tasks are called, in an order whose beginning is a fair sample."""

    @abstractmethod
    def task(self, key: Key) -> Task:
        """The task of this key. Raises ``ValueError`` for pictures that are missing or damaged."""


def in_turn(groups: Mapping[str, Sequence[Key]]) -> list[Key]:
    """The members of all groups, one of each in turn, so that the beginning has some of every group.

    >>> in_turn({"a": [1, 2, 3], "b": [4]})
    [1, 4, 2, 3]
    """
    return [key for key in chain.from_iterable(zip_longest(*groups.values())) if key is not None]


def digest(parts: Iterable[bytes]) -> str:
    """Eight characters that tell contents apart."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()[:8]
