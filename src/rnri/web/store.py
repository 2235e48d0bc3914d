"""Inversions in memory, within a number of bytes."""

from __future__ import annotations

import math
import secrets
import threading
from dataclasses import dataclass, replace
from functools import cached_property

from cachetools import LRUCache
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.inversion import Inversion

from rnri.editing.editor import Encoded
from rnri.web.batch import Table, table, weight
from rnri.web.results import InversionReport


@dataclass(frozen=True, eq=False)
class StoredInversion:
    """An inversion of an owner, and what it is recomputed from where `inversion` was evicted (None)."""

    report: InversionReport
    owner: str
    config: InversionConfig
    encoded: Encoded
    inversion: Inversion | None

    @cached_property
    def table(self) -> Table:
        """Its schedule in values that compare; empty without an inversion."""
        return () if self.inversion is None else table(self.inversion.schedule)

    @cached_property
    def bytes(self) -> int:
        """Memory of the latents of its image and of its inversion."""
        return self.encoded.latents.nbytes + (0 if self.inversion is None else weight(self.inversion))


class Store:
    """Least-recently-used cache of inversions by id, of `limit` bytes in all.

    Above the limit inversions are evicted first, then the latents of their images, from which they are recomputed.
    The last one that was stored stays in any case.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._latents: LRUCache[str, StoredInversion] = LRUCache(math.inf, lambda stored: stored.bytes)
        self._whole: LRUCache[str, StoredInversion] = LRUCache(
            math.inf, lambda stored: stored.bytes - stored.encoded.latents.nbytes
        )

    @staticmethod
    def new_id() -> str:
        """An id of 128 random bits, as hard to guess as a key."""
        return secrets.token_urlsafe(16)

    def __len__(self) -> int:
        """How many are stored, those whose inversion was evicted included."""
        return len(self._latents)

    @property
    def bytes(self) -> int:
        """Memory of all of them."""
        return int(self._latents.currsize + self._whole.currsize)

    def put(self, stored: StoredInversion) -> None:
        """Store it as the last used."""
        with self._lock:
            self._put(stored)

    def get(self, id: str, owner: str) -> StoredInversion | None:
        """The one with this id, if it is this owner's, which counts as a use."""
        with self._lock:
            latents = self._latents.get(id)
            if latents is None or not secrets.compare_digest(latents.owner.encode(), owner.encode()):
                return None
            return self._whole.get(id, latents)

    def restore(self, id: str, inversion: Inversion) -> None:
        """Put back an inversion that was recomputed, unless it has been deleted meanwhile."""
        with self._lock:
            if id in self._latents:
                self._put(replace(self._latents[id], inversion=inversion))

    def delete(self, id: str, owner: str) -> bool:
        """Delete it; False if this owner has none with this id."""
        if self.get(id, owner) is None:
            return False
        with self._lock:
            self._whole.pop(id, None)
            return self._latents.pop(id, None) is not None

    def _put(self, stored: StoredInversion) -> None:
        self._latents[stored.report.id] = replace(stored, inversion=None)
        self._whole[stored.report.id] = stored
        for cache in (self._whole, self._latents):
            while self.bytes > self.limit and len(cache) > 1:
                cache.popitem()
