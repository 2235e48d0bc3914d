"""Noise made whiter by descending two losses, as pix2pix-zero and ReNoise do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

PATCH = 4
"""Side of the patches whose mean and variance are compared, in latent elements."""

SMALLEST = 8
"""Rows of the coarsest scale at which auto-correlation is measured."""


@dataclass(frozen=True)
class Whitening:
    """``rounds`` of descent on noise: a step on the patch KL, then ``rolls`` on the auto-correlation.

    ``kl`` and ``correlation`` are the lengths of the steps, zero for none; ``seed`` selects the shifts.

    >>> noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> whiter = Whitening(kl=0.0, correlation=20.0, rounds=4, rolls=5, seed=0)(noise, noise)
    >>> losses = [sum(autocorrelation(z[0], random.Random(k)).item() for k in range(9)) for z in (noise, whiter)]
    >>> losses[1] < losses[0]
    True
    """

    kl: float
    correlation: float
    rounds: int
    rolls: int
    seed: int

    def __call__(self, noise: Tensor, reference: Tensor) -> Tensor:
        """``noise`` (B, C, h, w), whiter, and with patches more like those of ``reference`` (B, C, h, w)."""
        return torch.stack([self._one(*pair) for pair in zip(noise, reference, strict=True)])

    def _one(self, noise: Tensor, reference: Tensor) -> Tensor:
        dice = random.Random(self.seed)
        for _ in range(self.rounds):
            if self.kl:
                noise = noise - self.kl * _slope(lambda x: patch_kl(x, reference), noise).clamp(-100, 100)
            if self.correlation:
                for _ in range(self.rolls):
                    slope = _slope(lambda x: autocorrelation(x, dice), noise)
                    noise = noise - self.correlation / self.rolls * slope
        return noise


def patch_kl(noise: Tensor, reference: Tensor) -> Tensor:
    """Σ |log(v′/v) + (v + (μ − μ′)²)/v′ − 1| over channels and patches of (C, h, w), twice a Gaussian's KL divergence.

    μ, v are mean and variance of a patch of ``noise``, μ′, v′ of the same patch of ``reference``.

    >>> x = torch.arange(32.0).view(2, 4, 4)
    >>> round(patch_kl(x, x).item(), 4), round(patch_kl(x, 2 * x).item(), 4)
    (0.0, 7.984)
    """
    (mean, variance), (mean_there, variance_there) = map(_patches, (noise, reference))
    v, there = variance + 1e-6, variance_there + 1e-6
    return ((there / v).log() + (variance + (mean - mean_there) ** 2) / there - 1).abs().sum()


def autocorrelation(noise: Tensor, dice: random.Random) -> Tensor:
    """Σ (mean of x · x shifted)² over channels, scales and both directions of (C, h, w), by shifts from ``dice``.

    Each scale halves the one before, down to :data:`SMALLEST` rows; a shift is less than half of the rows, and may be
    0, which bounds the variance.
    """
    loss = torch.zeros((), dtype=noise.dtype, device=noise.device)
    for channel in noise:
        x = channel[None]
        while True:
            shift = dice.randrange(max(1, x.shape[1] // 2))
            for direction in (1, 2):
                loss = loss + (x * x.roll(shift, direction)).mean() ** 2
            if x.shape[1] <= SMALLEST:
                break
            x = avg_pool2d(x, 2)
    return loss


def _patches(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each patch of (C, h, w); what is left over at the edges is left out."""
    height, width = (min(PATCH, side) for side in x.shape[1:])
    patches = x.unfold(1, height, height).unfold(2, width, width).flatten(3)
    return patches.mean(-1), patches.var(-1)


def _slope(loss: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(loss(x), x)[0]
