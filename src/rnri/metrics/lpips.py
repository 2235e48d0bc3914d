"""Learned perceptual image patch similarity (Zhang, Isola, Efros, Shechtman, Wang 2018), version 0.1."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from rnri_core import threads
from torch import Tensor, nn

from rnri.metrics.metric import average, check_pair, pixel_metrics, shared
from rnri.metrics.weights import lpips_files

Trunk = Literal["squeeze", "alex"]

_EPSILON = 1e-10


class Fire(nn.Module):
    """SqueezeNet's block: (B, in, h, w) squeezed to few channels, then two convolutions side by side."""

    def __init__(self, inside: int, squeezed: int, outside: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, outside // 2, 1)
        self.expand3x3 = nn.Conv2d(squeezed, outside // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) to (B, out, h, w)."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


def _squeezenet() -> nn.Sequential:
    """The features of SqueezeNet 1.1, numbered as torchvision's weights are."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    start = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 128), Fire(128, 16, 128)]
    middle = [pool(), Fire(128, 32, 256), Fire(256, 32, 256), pool()]
    end = [Fire(256, 48, 384), Fire(384, 48, 384), Fire(384, 64, 512), Fire(512, 64, 512)]
    return nn.Sequential(*start, *middle, *end)


def _alexnet() -> nn.Sequential:
    """The features of AlexNet, numbered as torchvision's weights are, without the last pool."""
    start = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    middle = [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    convolutions = [nn.Conv2d(192, 384, 3, padding=1), nn.Conv2d(384, 256, 3, padding=1)]
    convolutions.append(nn.Conv2d(256, 256, 3, padding=1))
    return nn.Sequential(*start, *middle, *(layer for each in convolutions for layer in (each, nn.ReLU())))


_TRUNKS = {"squeeze": (_squeezenet, (1, 4, 7, 9, 10, 11, 12)), "alex": (_alexnet, (1, 4, 7, 9, 11))}
"""Each trunk, and after which of its layers features are compared."""
_WIDTHS = {"squeeze": (64, 128, 256, 384, 384, 512, 512), "alex": (64, 192, 384, 256, 256)}


class Lpips(nn.Module):
    """A trunk trained on ImageNet and the learned weight of each of its channels.

    >>> [features.shape[1] for features in Lpips("alex").features(torch.zeros(1, 3, 64, 64))]
    [64, 192, 384, 256, 256]
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Trunk = "squeeze") -> None:
        super().__init__()
        build, self.taps = _TRUNKS[trunk]
        self.trunk = build()
        self.heads = nn.ParameterList([torch.ones(1, width, 1, 1) for width in _WIDTHS[trunk]])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls, trunk: Trunk = "squeeze", folder: Path | None = None) -> Lpips:
        """From the published files in ``folder``, by default torch's cache; ``RnriError`` with the command that
        fetches them if they are not there."""
        features, heads = lpips_files(trunk, folder)
        with threads.loading(), torch.random.fork_rng(devices=[]):
            network = cls(trunk)
        weights = torch.load(features, map_location="cpu", weights_only=True)
        prefix = "features."
        kept = {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}
        network.trunk.load_state_dict(kept)
        learned = torch.load(heads, map_location="cpu", weights_only=True)
        for n, head in enumerate(network.heads):
            head.copy_(learned[f"lin{n}.model.1.weight"])
        return network

    def features(self, images: Tensor) -> list[Tensor]:
        """Features of pictures (B, 3, H, W) in [-1, 1], each (B, C, h, w), of unit length along C."""
        x, features = (images - self.shift) / self.scale, []
        for n, layer in enumerate(self.trunk):
            x = layer(x)
            if n in self.taps:
                features.append(x / (x.norm(dim=1, keepdim=True) + _EPSILON))
        return features


@torch.no_grad()
def lpips(image: Tensor, reference: Tensor, network: Lpips, where: Tensor | None = None) -> Tensor:
    """LPIPS, one number per image: lower is closer, 0 for equal images.

    With y the features of unit length at each of the trunk's layers l, and w_l ≥ 0 the learned weights (equation 1):

        LPIPS = Σ_l mean over h, w of Σ_c w_lc (y_lchw − y′_lchw)²

    Both are (B, 3, H, W) in [-1, 1], at least 32 pixels to a side. With ``where`` (B, 1, H, W) means are weighted by
    the share of it under each feature, and other pixels are taken from the reference. Shape (B,), not a number where
    no pixel counts. Raises RnriError for sizes that do not fit.

    >>> lpips(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64), Lpips("alex"))
    tensor([0.], dtype=torch.float64)
    """
    check_pair(image, reference, where)
    device = network.shift.device
    total = torch.zeros(len(image), dtype=torch.float64, device=device)
    ours = network.features(shared(image, reference, where).float().to(device))
    theirs = network.features(reference.float().to(device))
    for head, one, other in zip(network.heads, ours, theirs, strict=True):
        distance = ((one - other).square() * head).sum(1, keepdim=True)
        total = total + average(distance, None if where is None else share(where.to(device), distance))
    return total


def share(where: Tensor, features: Tensor) -> Tensor:
    """The share of each feature's place in ``where``: (B, 1, H, W) of bool to (B, 1, h, w) in [0, 1]."""
    height, width = features.shape[2:]
    return nn.functional.adaptive_avg_pool2d(where.double(), (height, width))


LPIPS_SQUEEZE, LPIPS_SQUEEZE_BACKGROUND, LPIPS_UNEDIT_PART = pixel_metrics(
    "LPIPS",
    "lower",
    lambda image, other, where, networks: lpips(image, other, networks.squeeze, where),
    ", SqueezeNet",
    power=3,
    needs="lpips-squeeze",
)
LPIPS_ALEX, LPIPS_ALEX_BACKGROUND, _ = pixel_metrics(
    "LPIPS",
    "lower",
    lambda image, other, where, networks: lpips(image, other, networks.alex, where),
    ", AlexNet",
    power=3,
    needs="lpips-alex",
)
