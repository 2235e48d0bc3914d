"""Where the words that differ between two prompts are looked at."""

from __future__ import annotations

import torch
from torch import Tensor

from rnri.controls.alignment import align
from rnri.controls.base import Job
from rnri.models.attention_hooks import AttentionHook, Place, grid


class WordMaps(AttentionHook):
    """Cross attention to the words that differ, summed over heads, layers and calls of the network.

    Read at one level of encoder and decoder (:func:`rnri.models.attention_hooks.grid`), as the weights are used.
    ``heat`` (2, P, 1, h, w) has the source's words that are dropped, at the source, and the targets' new words, at the
    edits. Raises ValueError where the network has no cross attention at this level, TypeError where it is no UNet.
    """

    def __init__(self, job: Job, level: int) -> None:
        self.job, self.level = job, level
        height, width = job.source.noise.shape[-2:]
        self.grid = grid((height, width), level)
        if not any(map(self.read, job.layers())):
            there = sorted({place.level for place in job.layers() if place.cross and place.part != "mid"})
            levels = " or ".join(map(str, there))
            raise job.missing(f"cross attention at level {level}", f"set level={levels}" if there else "use another")
        source = job.words(job.source.prompt)
        found = [align(source, job.words(prompt), job.length, replace=False) for prompt in job.prompts]
        self.dropped = torch.zeros(len(found), job.length)
        self.new = torch.zeros(len(found), job.length)
        for n, alignment in enumerate(found):
            self.dropped[n, list(alignment.removed)] = 1
            self.new[n, list(alignment.added)] = 1
        self.clear()

    def clear(self) -> None:
        """Forget what was seen so far."""
        self.heat = torch.zeros(2, len(self.new), 1, *self.grid)

    def read(self, place: Place) -> bool:
        """Whether this layer is one that is read."""
        return place.cross and place.level == self.level and place.part != "mid"

    def weighs(self, place: Place, cells: int) -> bool:
        return self.read(place)

    def look(self, place: Place, weights: Tensor) -> None:
        seen = weights.detach().sum(1)
        theirs = seen[:1] @ self.dropped.to(seen)[..., None]
        ours = seen[self.job.targets] @ self.new.to(seen)[..., None]
        if weights.shape[2] != self.grid[0] * self.grid[1]:
            raise self.job.missing(f"grid of {self.grid[0]}×{self.grid[1]} at level {self.level}", "use another size")
        maps = torch.stack([theirs, ours]).transpose(2, 3)
        self.heat = self.heat.to(maps) + maps.reshape(*maps.shape[:3], *self.grid)
