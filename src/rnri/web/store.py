"""Inversions that are kept for their owners, within a number of bytes."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.inversion import Inversion

from rnri.editing.editor import Encoded, Timings
from rnri.editing.renamed import init_of
from rnri.web.batch import Table, table, weight

ID_BYTES = 16
"""Of randomness in an id: as hard to guess as a key."""


@dataclass(frozen=True)
class Settings:
    """How a picture is inverted, in the names and with the defaults of `Editor.invert`."""

    solver: str = "auto"
    steps: int | None = None
    strength: float = 1.0
    guidance: float | None = None
    budget: int | tuple[int, ...] | None = None
    tol: float | None = None
    start: Literal["clean", "noised"] | None = None
    predictor: bool | None = None
    correct: bool | None = None
    seed: int = 0

    def config(self) -> InversionConfig:
        """The settings as the editor takes them."""
        return InversionConfig(
            inverter=self.solver,
            steps=self.steps,
            strength=self.strength,
            guidance=self.guidance,
            iterations=self.budget,
            tol=self.tol,
            init=init_of(self.solver, start=self.start, predictor=self.predictor),
            noise_maps=self.correct,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Quality:
    """How good an inversion is: PSNR in dB of its reconstruction and of the autoencoder alone, which bounds it.

    `status` and `residual` are the worst of all steps; a residual is None where nothing was solved.
    """

    psnr_db: float | None
    bound_db: float | None
    status: str
    residual: float | None


@dataclass(frozen=True)
class Cost:
    """What was spent: network calls for one image, Jacobian products, seconds by stage and waiting for a turn."""

    nfe: int
    njvp: int
    nvjp: int
    timings: Timings
    waited: float


@dataclass(frozen=True)
class Inverted:
    """What is told of a kept inversion.

    `size` is (width, height) of the picture, `remarks` what the model cannot read of the prompt.
    """

    id: str
    prompt: str
    settings: Settings
    size: tuple[int, int]
    steps: int
    quality: Quality
    cost: Cost
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Kept:
    """An inversion and what it takes to make it again; without `inversion`, it has to be."""

    about: Inverted
    owner: str
    encoded: Encoded
    inversion: Inversion | None

    @cached_property
    def table(self) -> Table:
        """What its steps do, in values that compare; none without an inversion."""
        return () if self.inversion is None else table(self.inversion.schedule)

    @cached_property
    def bytes(self) -> int:
        """What it holds."""
        latents = self.encoded.latents
        return latents.nbytes + (0 if self.inversion is None else weight(self.inversion))


class Store:
    """Kept inversions by id, the least recently used first to go.

    Above `limit` bytes it is first reduced to the latents of its picture, from which it is inverted again when it is
    wanted; once all but the last used are, it is forgotten. So is, at any time, what its owner deletes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    @staticmethod
    def new_id() -> str:
        """An id that nobody guesses."""
        return secrets.token_urlsafe(ID_BYTES)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What all of them hold."""
        return self._bytes

    def put(self, kept: Kept) -> None:
        """Keep it, as the last used."""
        with self._lock:
            self._drop(kept.about.id)
            self._add(kept)
            self._shrink()

    def get(self, id: str, owner: str) -> Kept | None:
        """The one with this id, if it is this owner's, which counts as a use."""
        with self._lock:
            kept = self._kept.get(id)
            if kept is None or not secrets.compare_digest(kept.owner.encode(), owner.encode()):
                return None
            self._kept.move_to_end(id)
            return kept

    def restore(self, id: str, inversion: Inversion) -> None:
        """Put back what was made again, unless it has been deleted meanwhile."""
        with self._lock:
            kept = self._drop(id)
            if kept is not None:
                self._add(replace(kept, inversion=inversion))
                self._shrink()

    def delete(self, id: str, owner: str) -> bool:
        """Forget it; False if this owner has none with this id."""
        if self.get(id, owner) is None:
            return False
        with self._lock:
            return self._drop(id) is not None

    def _add(self, kept: Kept) -> None:
        self._kept[kept.about.id] = kept
        self._bytes += kept.bytes

    def _drop(self, id: str) -> Kept | None:
        kept = self._kept.pop(id, None)
        self._bytes -= kept.bytes if kept else 0
        return kept

    def _shrink(self) -> None:
        """Reduce, then forget, whatever was not used for longest; the last used stays."""
        *older, _ = self._kept
        for id in older:
            if self._bytes <= self.limit:
                return
            kept = self._kept[id]
            self._bytes -= kept.bytes
            self._kept[id] = replace(kept, inversion=None)
            self._bytes += self._kept[id].bytes
        for id in older:
            if self._bytes <= self.limit:
                return
            self._drop(id)
