"""Paths between two noises: straight, spherical, or through norms that are likely for white noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from rnri_core.errors import RnriError

PathName = Literal["lerp", "slerp", "nao"]
_PIECES, _WITHIN, _ROUNDS = 64, 8, 200


def lerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """one + share·(other − one). Halfway between two independent noises its norm is short by √2.

    >>> lerp(torch.zeros(1), torch.ones(1), 0.25).item()
    0.25
    """
    return one + share * (other - one)


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Spherical interpolation: at a ``share`` in [0, 1] of the angle between two tensors and of their norms.

    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), 0.5)
    tensor([1.4142, 1.4142])
    """
    length, end, angle = _polar(one, other)
    return _placed(one, other, lerp(length, end, share), share * angle)


def nao(one: Tensor, other: Tensor, shares: Sequence[float]) -> list[Tensor]:
    """Points of the norm-aware path: the one along which −∫ log χ_d(‖z‖) ds is least (Samuel et al., NeurIPS 2023).

    χ_d is the density of the norm of d-dimensional white noise, so that the path makes for norms near √d and stays
    there. By symmetry it lies in the plane of the two tensors; there it is the norm as a function of the angle, at 64
    angles.

    Args:
        one, other: noises of one shape.
        shares: positions along the length of the path, in [0, 1].

    Raises:
        RnriError: for a tensor of zeros.

    >>> white = torch.randn(2, 4096, generator=torch.Generator().manual_seed(0))
    >>> start, middle, _ = nao(0.5 * white[0], white[1], [0.0, 0.5, 1.0])
    >>> torch.equal(start, 0.5 * white[0]), round(middle.norm().item())
    (True, 64)
    """
    length, end, angle = _polar(one, other)
    if min(length, end) == 0:
        raise RnriError("there is no path from noise that is zero everywhere")
    if angle < 1e-6:
        return [slerp(one, other, share) for share in shares]
    log_chi, likeliest = _log_chi(one.numel()), math.sqrt(one.numel() - 1)
    norms = torch.full((_PIECES - 1,), likeliest, dtype=torch.float64, requires_grad=True)
    turns = torch.linspace(0, 1, _PIECES * _WITHIN + 1, dtype=torch.float64) * angle

    def walk() -> tuple[Tensor, Tensor]:
        """Norms at all angles, and the length of each little step."""
        corners = torch.cat([length[None], norms, end[None]])
        along = torch.nn.functional.interpolate(
            corners[None, None], size=len(turns), mode="linear", align_corners=True
        ).flatten()
        middle = (along[1:] + along[:-1]) / 2
        return along, torch.hypot(along.diff(), middle * turns.diff())

    def cost() -> Tensor:
        along, steps = walk()
        return -(log_chi((along[1:] + along[:-1]) / 2) * steps).sum() / likeliest

    _descend(cost, norms)
    with torch.no_grad():
        along, steps = walk()
        travelled = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])
        return [_at(one, other, torch.stack([along, turns], 1), travelled, share) for share in shares]


def path(name: PathName, one: Tensor, other: Tensor, shares: Sequence[float]) -> list[Tensor]:
    """Points at these shares, each in [0, 1], of a path by name; RnriError for an unknown name.

    >>> [round(z.item(), 2) for z in path("lerp", torch.zeros(1), torch.ones(1), [0, 0.5, 1])]
    [0.0, 0.5, 1.0]
    """
    if name == "nao":
        return nao(one, other, shares)
    if name not in ("lerp", "slerp"):
        raise RnriError(f"path {name!r} is not one of lerp, slerp, nao")
    rule = lerp if name == "lerp" else slerp
    return [rule(one, other, share) for share in shares]


def centroid(points: Sequence[Tensor]) -> Tensor:
    """The centroid of several noises: the smallest sum of angles to them, at the likeliest norm √(d − 1).

    On the sphere of that norm the norm-aware distance (Samuel et al., NeurIPS 2023) is proportional to the angle.
    Computed by Weiszfeld's iterations from the mean direction.

    >>> a, b = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> middle = centroid([a, b])
    >>> round(middle.norm().item(), 2), torch.allclose(_angle(middle, a), _angle(middle, b), atol=1e-3)
    (63.99, True)
    """
    rays = torch.stack([point.double() / point.double().norm() for point in points])
    middle = rays.mean(0)
    for _ in range(50):
        middle = middle / middle.norm()
        angles = torch.stack([_angle(middle, ray) for ray in rays]).clamp(1e-6, math.pi - 1e-6)
        weights = (1 / angles.sin()).view(-1, *[1] * middle.ndim)
        middle = (weights * rays).sum(0)
    output: Tensor = (middle / middle.norm() * math.sqrt(points[0].numel() - 1)).to(points[0])
    return output


def _log_chi(dimensions: int) -> Callable[[Tensor], Tensor]:
    """log χ_d of a norm, which is below 0 everywhere from d = 1 on."""
    constant = (1 - dimensions / 2) * math.log(2) - math.lgamma(dimensions / 2)
    return lambda norm: constant + (dimensions - 1) * norm.log() - norm.square() / 2


def _descend(cost: Callable[[], Tensor], free: Tensor) -> None:
    """Bring the cost to its least."""
    optimiser: torch.optim.Optimizer = torch.optim.LBFGS(
        [free], max_iter=_ROUNDS, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure() -> float:
        optimiser.zero_grad()
        loss = cost()
        torch.autograd.backward(loss)
        return loss.item()

    with torch.enable_grad():
        optimiser.step(closure)


def _at(one: Tensor, other: Tensor, path: Tensor, travelled: Tensor, share: float) -> Tensor:
    """The point at a share of a path's length."""
    if share in (0, 1):
        return other if share else one
    reached = share * travelled[-1]
    piece = int(torch.searchsorted(travelled, reached).clamp(1, len(travelled) - 1))
    rest = (reached - travelled[piece - 1]) / (travelled[piece] - travelled[piece - 1])
    radius, turn = path[piece - 1].lerp(path[piece], rest)
    return _placed(one, other, radius, turn)


def _angle(one: Tensor, other: Tensor) -> Tensor:
    """Between two tensors, in a form that is exact for small ones."""
    a, b = one.double() / one.double().norm(), other.double() / other.double().norm()
    return 2 * torch.atan2((a - b).norm(), (a + b).norm())


def _polar(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The norms of two tensors, and the angle between them."""
    return one.double().norm(), other.double().norm(), _angle(one, other)


def _placed(one: Tensor, other: Tensor, radius: Tensor, turn: Tensor) -> Tensor:
    """In the plane of two tensors, at this norm and this angle from the first."""
    along = one.double() / one.double().norm()
    across = other.double() - (other.double() * along).sum() * along
    size = across.norm()
    if size > 1e-9 * other.double().norm():
        along = turn.cos() * along + turn.sin() * across / size
    output: Tensor = (radius * along).to(one)
    return output
