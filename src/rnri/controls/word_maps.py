"""Maps of cross attention to the words that differ between two prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rnri_core.inversion.inversion import Inversion
from torch import Tensor

from rnri.controls.alignment import align
from rnri.controls.base import missing
from rnri.models.attention import attention_layers, token_spans
from rnri.models.attention_hooks import AttentionHook, AttentionLayer, grid
from rnri.models.base import Model


class WordMaps(AttentionHook):
    """Cross attention to the words that differ, summed over heads, layers and network evaluations.

    It is read at one level of encoder and decoder (:func:`rnri.models.attention_hooks.grid`), as it is used. ``heat``
    (2, P, 1, h, w) has, first, attention of the source's row to the words that are only in the source prompt, then
    that of the targets' rows to the words that are only in their prompt.

    Args:
        model: the model, with a UNet.
        source: the inversion; its prompt is the source prompt.
        prompts: the P target prompts.
        level: the level.
        length: tokens of a prompt that the network reads.
        targets: rows of the batch conditioned on the target prompts; row 0 is the source.

    Raises:
        RnriError: where the network has no cross attention at this level.
        RnriTypeError: where it is no UNet.
    """

    def __init__(
        self, model: Model, source: Inversion, prompts: Sequence[str], level: int, *, length: int, targets: slice
    ) -> None:
        self.model, self.source, self.level, self.targets = model, source, level, targets
        height, width = source.noise.shape[-2:]
        self.grid = grid((height, width), level)
        layers = attention_layers(model)
        if not any(map(self.reads, layers)):
            levels = " or ".join(map(str, sorted({each.level for each in layers if each.cross and each.part != "mid"})))
            cure = f"set level={levels}" if levels else "use another"
            raise missing(model, source, f"cross attention at level {level}", cure)
        words = token_spans(model, source.prompt, length)
        alignments = [align(words, token_spans(model, prompt, length), length, replace=False) for prompt in prompts]
        self.removed = torch.zeros(len(prompts), length)
        self.added = torch.zeros(len(prompts), length)
        for n, alignment in enumerate(alignments):
            self.removed[n, list(alignment.removed)] = 1
            self.added[n, list(alignment.added)] = 1
        self.clear()

    def clear(self) -> None:
        """Set the maps to zero."""
        self.heat = torch.zeros(2, len(self.added), 1, *self.grid)

    def reads(self, layer: AttentionLayer) -> bool:
        """Whether this layer is one that is read."""
        return layer.cross and layer.level == self.level and layer.part != "mid"

    def needs_probabilities(self, step: int, layer: AttentionLayer) -> bool:
        return self.reads(layer)

    def observe_probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> None:
        summed = probabilities.detach().sum(1)
        if summed.shape[1] != self.grid[0] * self.grid[1]:
            height, width = self.grid
            raise missing(
                self.model, self.source, f"grid of {height}×{width} at level {self.level}", "use another size"
            )
        removed = summed[:1] @ self.removed.to(summed)[..., None]
        added = summed[self.targets] @ self.added.to(summed)[..., None]
        maps = torch.stack([removed, added]).transpose(2, 3)
        self.heat = self.heat.to(maps) + maps.reshape(*maps.shape[:3], *self.grid)
