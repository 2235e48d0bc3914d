"""Structure distance: self-similarity of a vision transformer's keys (Tumanyan, Bar-Tal, Bagon, Dekel 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rnri_core.errors import RnriError
from torch import Tensor

from rnri.metrics.metric import Metric, check_pair, of_background, shared
from rnri.metrics.networks import Networks
from rnri.metrics.weights import DINO, pretrained

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KEYS = ("attention.k_proj", "attention.key")
"""Names of the projection to keys, by version of transformers."""


@dataclass(frozen=True, eq=False)
class Dino:
    """A ViT of transformers; the published one is DINO's ViT-B/8."""

    model: Any

    @classmethod
    def load(cls, source: str = DINO, *, device: torch.device | str = "cpu") -> Dino:
        """From a folder, or from what ``rnri bench fetch dino`` fetched; ``RnriError`` with that command if not."""
        from transformers import ViTModel

        [model] = pretrained("dino", source, partial(ViTModel.from_pretrained, add_pooling_layer=False))
        return cls(model.eval().requires_grad_(False).to(device))

    @property
    def side(self) -> int:
        """The side of the pictures it was trained on."""
        return int(self.model.config.image_size)

    @property
    def patch(self) -> int:
        """The side of a token."""
        return int(self.model.config.patch_size)

    def size(self, images: Tensor) -> list[int]:
        """The height and width that pictures are brought to: the shorter side as trained, the other in proportion."""
        height, width = images.shape[2:]
        scale = self.side / min(height, width)
        return [round(length * scale / self.patch) * self.patch for length in (height, width)]

    @torch.no_grad()
    def keys(self, pixels: Tensor) -> Tensor:
        """The keys of the last layer, heads side by side, of pictures (B, 3, H, W) as they are: (B, 1 + tokens, D)."""
        mean, deviation = (pixels.new_tensor(each).view(1, 3, 1, 1) for each in (_MEAN, _DEVIATION))
        names = [name for name, _ in self.model.named_modules() if name.endswith(_KEYS)]
        keys: list[Tensor] = []
        hook = self.model.get_submodule(names[-1]).register_forward_hook(lambda _module, _inputs, out: keys.append(out))
        try:
            self.model(((pixels - mean) / deviation).to(self.model.device), interpolate_pos_encoding=True)
        finally:
            hook.remove()
        return keys[0]


def self_similarity(keys: Tensor) -> Tensor:
    """The cosine of each pair of tokens: (B, T, D) to (B, T, T), in float64.

    >>> self_similarity(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]))
    tensor([[[1., 0.],
             [0., 1.]]], dtype=torch.float64)
    """
    unit = torch.nn.functional.normalize(keys.double(), dim=-1, eps=1e-8)
    return unit @ unit.mT


def structure_distance(image: Tensor, reference: Tensor, dino: Dino, where: Tensor | None = None) -> Tensor:
    """Mean squared difference of the self-similarities of DINO's keys, one number per image: lower is closer.

    Both are (B, 3, H, W) in [-1, 1], brought to DINO's size by antialiased bicubic scaling. With ``where``
    (B, 1, H, W) only pairs of tokens that lie wholly in it count, and other pixels are taken from the reference.
    Shape (B,), not a number where no token counts. Raises RnriError for sizes that do not fit.
    """
    check_pair(image, reference, where)
    sides: Any = {"size": dino.size(image), "mode": "bicubic", "antialias": True}
    ours, theirs = (
        self_similarity(dino.keys((torch.nn.functional.interpolate(each.float(), **sides).clamp(-1, 1) + 1) / 2))
        for each in (shared(image, reference, where), reference)
    )
    squares = (ours - theirs).square()
    if where is None:
        return squares.flatten(1).mean(1)
    height, width = (side // dino.patch for side in dino.size(image))
    inside = torch.nn.functional.adaptive_avg_pool2d(where.double(), (height, width)).flatten(1) == 1
    weights = (inside[:, :, None] & inside[:, None, :]).double().expand_as(squares[:, 1:, 1:]).to(squares.device)
    return (squares[:, 1:, 1:] * weights).flatten(1).sum(1) / weights.flatten(1).sum(1)


def structure_distance_as_published(image: Tensor, reference: Tensor, dino: Dino) -> Tensor:
    """The structure distance as PIE-Bench's reference computes it: pixel values 0 to 255 where 0 to 1 are meant.

    They are scaled to a square, bilinearly and without antialiasing, and the class token counts. Both are
    (B, 3, S, S) in [-1, 1]. Shape (B,). Raises RnriError for sizes that do not fit or are not square.
    """
    check_pair(image, reference)
    if image.shape[2] != image.shape[3]:
        raise RnriError(f"images of shape {tuple(image.shape)} are not square", hint="PIE-Bench compares squares only")
    ours, theirs = (
        self_similarity(
            dino.keys(torch.nn.functional.interpolate((each + 1) * 127.5, [dino.side] * 2, mode="bilinear"))
        )
        for each in (image, reference)
    )
    return (ours - theirs).square().flatten(1).mean(1)


def _compared(image: Tensor, source: Tensor, where: Tensor | None, networks: Networks) -> Tensor:
    return structure_distance(image, source, networks.dino, where)


STRUCTURE = Metric(
    "structure distance to the source",
    "lower",
    lambda judged, networks: _compared(judged.image, judged.source, None, networks),
    power=3,
    needs="dino",
)
STRUCTURE_BACKGROUND = Metric(
    "structure distance of the background's tokens to the source's",
    "lower",
    of_background(_compared),
    power=3,
    needs="dino",
)
STRUCTURE_DISTANCE = Metric(
    "PIE-Bench: structure distance to the source, of pixel values 0 to 255",
    "lower",
    lambda judged, networks: structure_distance_as_published(judged.image, judged.source, networks.dino),
    power=3,
    needs="dino",
)
