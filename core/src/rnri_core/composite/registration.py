"""Registration of an edited image to its original: global shift, scale and tint, robust to what was edited."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

COARSEST, FINEST = 40, 768
"""Sides, in pixels, of the smallest and the largest image of the pyramid on which the fit is refined."""
REACH = 0.04
"""Shift that is searched for, as a share of a side, and scale, as a difference from 1."""
ITERATIONS = 12
MARGIN = 0.01
"""Width at the border of a moved image, on coordinates from −1 to 1, that is not compared: editors make it up."""
NEAR, SHARE = 0.08, 0.5
"""Registered images differ by less than the first, in [−1, 1], at this share of the pixels, or were not registered."""
GAINS, BIAS = (0.8, 1.25), 0.15
"""A gain or a bias beyond these is a change of light that was wanted, not a tint."""


@dataclass(frozen=True)
class Registration:
    """The map from an original to an image that shows it shifted, scaled and tinted.

        edited(x·scale_x + shift_x, y·scale_y + shift_y) = gain·original(x, y) + bias

    Coordinates run from −1 to 1 across the image, so that a shift of 0.02 is a hundredth of the side.

    Attributes:
        scale: (x, y).
        shift: (x, y).
        gain: of each channel, (3,).
        bias: of each channel, (3,), pixels being in [−1, 1].
    """

    scale: tuple[float, float]
    shift: tuple[float, float]
    gain: tuple[float, float, float]
    bias: tuple[float, float, float]

    def undo(self, edited: Tensor) -> Tensor:
        """The edited image (1, 3, H, W) in [−1, 1], moved, scaled and tinted back onto the original; at its size."""
        gain, bias = (edited.new_tensor(each).view(1, 3, 1, 1) for each in (self.gain, self.bias))
        moved = edited if self.still else _warped(edited, _parameters(self.scale, self.shift), "bicubic")
        return ((moved - bias) / gain).clamp(-1, 1)

    @property
    def still(self) -> bool:
        """Whether nothing was shifted or scaled."""
        return self.scale == (1.0, 1.0) and self.shift == (0.0, 0.0)

    def visible(self, like: Tensor) -> Tensor:
        """Whether the edited image shows a pixel of the original, or a shift has moved it out; (1, 1, H, W)."""
        x, y = _coordinates(like, _parameters(self.scale, self.shift))
        most = 1.0 if self.still else 1.0 - MARGIN
        return ((x.abs() <= most) & (y.abs() <= most))[None, None]


UNMOVED = Registration((1.0, 1.0), (0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def register(original: Tensor, edited: Tensor, *, tint: bool = True) -> Registration:
    """Fit shift, scale and tint of an edited image by robust least squares, coarse to fine.

    Minimizes Σ ρ(edited(W(x)) − gain·original(x) − bias) over the map W of :class:`Registration` by Gauss–Newton steps
    with Tukey's biweight ρ, whose scale is the median absolute residual: pixels that an edit changed get no weight as
    long as they are the minority. An image that was not moved is not resampled.

    Args:
        original: (1, 3, H, W) in [−1, 1].
        edited: the same shape.
        tint: fit gain and bias too; else they are 1 and 0.

    Source: S. Baker, I. Matthews, "Lucas-Kanade 20 years on", IJCV 2004, Section 3 and part 2 (robust error functions).

    >>> picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> register(picture, picture).still
    True
    """
    levels = _pyramid(original, edited)
    flat = torch.zeros(4, dtype=torch.float64)
    start, fit = _search(*levels[0]), flat
    for level in levels:
        start = _refined(*level, start, tint=tint)
    if _cost(*levels[-1], start) < 0.97 * _cost(*levels[-1], flat):
        fit = start
    gain, bias = _tint(*levels[-1], fit) if tint else (torch.ones(3), torch.zeros(3))
    ax, bx, ay, by = fit.tolist()
    registration = Registration((1 + ax, 1 + ay), (bx, by), _three(gain), _three(bias))
    return registration if _plausible(registration, *levels[-1]) else UNMOVED


def _plausible(fit: Registration, original: Tensor, edited: Tensor) -> bool:
    """Whether shift, scale and tint are small, and the registered images agree at enough pixels."""
    moved = max(abs(each - 1) for each in fit.scale) > 2 * REACH or max(map(abs, fit.shift)) > 2.4 * REACH
    tinted = min(fit.gain) < GAINS[0] or max(fit.gain) > GAINS[1] or max(map(abs, fit.bias)) > BIAS
    residual = (fit.undo(edited) - original).abs().mean(1)
    return not moved and not tinted and (residual < NEAR).float().mean().item() >= SHARE


def _three(values: Tensor) -> tuple[float, float, float]:
    a, b, c = values.tolist()
    return a, b, c


def _parameters(scale: tuple[float, float], shift: tuple[float, float]) -> Tensor:
    return torch.tensor([scale[0] - 1, shift[0], scale[1] - 1, shift[1]], dtype=torch.float64)


def _pyramid(original: Tensor, edited: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Pairs of images, small to large, each twice the size of the one before."""
    height, width = original.shape[-2:]
    largest = min(1.0, FINEST / max(height, width))
    count = max(1, 1 + math.ceil(math.log2(max(1.0, largest * min(height, width) / COARSEST))))
    pairs = []
    for k in range(count):
        factor = largest / 2 ** (count - 1 - k)
        size = (max(8, round(height * factor)), max(8, round(width * factor)))
        pairs.append((_scaled(original, size), _scaled(edited, size)))
    return pairs


def _scaled(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    return functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)


def _coordinates(like: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (H, W) at which the edited image is read for each pixel of the original."""
    height, width = like.shape[-2:]
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width * 2 - 1
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height * 2 - 1
    x, y = x * (1 + p[0]) + p[1], y * (1 + p[2]) + p[3]
    return x.to(like).expand(height, width), y.to(like)[:, None].expand(height, width)


def _warped(image: Tensor, p: Tensor, mode: str = "bilinear") -> Tensor:
    grid = torch.stack(_coordinates(image, p), -1)[None]
    return functional.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def _weights(residual: Tensor) -> Tensor:
    """Tukey's biweight of residuals (…), whose scale is 1.48 times the median of their sizes."""
    scale = 4.685 * 1.4826 * residual.abs().median().clamp_min(2e-3)
    return (1 - (residual / scale).square()).clamp_min(0).square()


def _cost(original: Tensor, edited: Tensor, p: Tensor) -> float:
    """Mean absolute residual of the better half of the pixels, the tint fitted."""
    gain, bias = _tint(original, edited, p)
    residual = _warped(edited, p) - gain.view(1, 3, 1, 1) * original - bias.view(1, 3, 1, 1)
    size = residual.abs().mean(1).flatten()
    return size.kthvalue(max(1, int(0.6 * len(size)))).values.item()


def _search(original: Tensor, edited: Tensor) -> Tensor:
    """The best of a grid of shifts and scales, at the coarsest size."""
    starts = [
        torch.tensor([s, x, s, y], dtype=torch.float64)
        for s, x, y in itertools.product(
            (-REACH, 0.0, REACH), (-2 * REACH, 0.0, 2 * REACH), (-2 * REACH, 0.0, 2 * REACH)
        )
    ]
    refined = [_refined(original, edited, start, tint=True, iterations=4) for start in starts]
    return min(refined, key=lambda p: _cost(original, edited, p))


def _refined(original: Tensor, edited: Tensor, p: Tensor, *, tint: bool, iterations: int = ITERATIONS) -> Tensor:
    """Gauss–Newton steps on scale and shift, with a gain and a bias of grey values eliminated along."""
    height, width = original.shape[-2:]
    first, second = (functional.avg_pool2d(each.mean(1, keepdim=True), 3, 1, 1) for each in (original, edited))
    slope_x = functional.pad((second[..., 2:] - second[..., :-2]) * (width / 4), (1, 1))
    slope_y = functional.pad((second[..., 2:, :] - second[..., :-2, :]) * (height / 4), (0, 0, 1, 1))
    x, y = _coordinates(original, torch.zeros(4, dtype=torch.float64))
    gain, bias = 1.0, 0.0
    for _ in range(iterations):
        grid = torch.stack(_coordinates(original, p), -1)[None]
        values, dx, dy = functional.grid_sample(
            torch.cat([second, slope_x, slope_y], 1), grid, padding_mode="border", align_corners=False
        )[0]
        residual = values - gain * first[0, 0] - bias
        columns = [dx * x, dx, dy * y, dy] + ([-first[0, 0], -torch.ones_like(x)] if tint else [])
        matrix = torch.stack([each.flatten() for each in columns], 1).double()
        weights = (_weights(residual) * (grid.abs().amax(-1)[0] <= 1)).flatten().double()
        normal = matrix.T @ (weights[:, None] * matrix)
        normal += 1e-6 * normal.diagonal().mean() * torch.eye(len(normal), dtype=normal.dtype)
        change = torch.linalg.solve(normal, -matrix.T @ (weights * residual.flatten().double()))
        p = (p + change[:4].clamp(-REACH, REACH)).clamp(-2.5 * REACH, 2.5 * REACH)
        if tint:
            gain, bias = gain + change[4].item(), bias + change[5].item()
    return p


def _tint(original: Tensor, edited: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and bias (3,) of each channel between registered images, by reweighted least squares on soft copies."""
    x = functional.avg_pool2d(original, 3, 1, 1).flatten(2)[0].double()
    y = functional.avg_pool2d(_warped(edited, p), 3, 1, 1).flatten(2)[0].double()
    gain, bias = torch.ones(3, 1, dtype=x.dtype), (y - x).median(1, keepdim=True).values
    for _ in range(ITERATIONS):
        weights = torch.stack([_weights(each) for each in y - gain * x - bias]).amin(0, keepdim=True)
        total = weights.sum().clamp_min(1e-9)
        mean_x, mean_y = (weights * x).sum(1, keepdim=True) / total, (weights * y).sum(1, keepdim=True) / total
        # the pull towards 1 keeps the gain of an image of few colours from being anything
        spread = (weights * (x - mean_x).square()).sum(1, keepdim=True) + 1e-3 * total
        gain = ((weights * (x - mean_x) * (y - mean_y)).sum(1, keepdim=True) + 1e-3 * total) / spread
        gain = gain.clamp(0.5, 2.0)
        bias = mean_y - gain * mean_x
    return gain[:, 0].to(original), bias[:, 0].to(original)
