"""Newton's method, its linear systems solved in a Krylov space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from rnri.equation import Equation, dot, norm
from rnri.solvers import sources
from rnri.solvers.least_squares import combine
from rnri.solvers.method import Method, option
from rnri.solvers.safeguard import Best


class State(NamedTuple):
    """The best point seen, and how far the linear systems are solved (B, 1, …, 1)."""

    best: Best
    forcing: Tensor


@dataclass(frozen=True)
class NewtonKrylov(Method):
    """z ← z + Δ, (I − ∂g/∂z) Δ = g(z) − z solved by GMRES: Δ in the Krylov space, of the smallest residual.

    Each direction costs a call (``difference``) or an exact product (``exact``). With ``forcing`` above 0 the
    directions end once the linear residual is below η_k, Eisenstat and Walker's second choice, at most ``forcing``;
    that waits for the device. A step that makes the residual grow is halved until it does not.
    """

    source: ClassVar = sources.NEWTON_KRYLOV
    equation: ClassVar = "Section 2; forcing by Eisenstat and Walker 1996, Eq. 2.6"

    directions: int = option(4, "the most directions per Newton step", low=1, high=100)
    products: Literal["difference", "exact"] = option("difference", "how Jacobian products are made")
    forcing: float = option(
        0.0, "the largest relative error of a linear solve; 0 takes every direction", low=0.0, high=0.9
    )

    def init(self, z: Tensor, max_iter: int) -> State:
        one = torch.ones(len(z), *[1] * (z.ndim - 1), dtype=z.dtype, device=z.device)
        return State(Best(z, z), self.forcing * one)

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: State) -> tuple[Tensor, State]:
        grew, best = state.best.judge(z, gz)
        forcing = (0.9 * (norm(gz - z) / state.best.length) ** 2).clamp_max(self.forcing)
        forcing = torch.where(grew, state.forcing, forcing)
        half = best.z + (z - best.z) / 2
        return torch.where(grew, half, z + self._solve(eq, z, gz, forcing)), State(best, forcing)

    def _solve(self, eq: Equation, z: Tensor, gz: Tensor, forcing: Tensor) -> Tensor:
        """Δ with (I − ∂g/∂z) Δ ≈ g(z) − z."""
        right = gz - z
        basis: list[Tensor] = []
        images: list[Tensor] = []
        v, tiny = right, torch.finfo(z.dtype).tiny
        while True:
            for u in basis:
                v = v - dot(u, v) * u
            v = v / norm(v).clamp_min(tiny)
            product = eq.jvp(z, v) if self.products == "exact" else eq.difference(z, gz, v)
            basis.append(v)
            images.append(v - product)
            weights = combine(images, right, torch.finfo(z.dtype).eps)
            if len(basis) == self.directions:
                break
            if self.forcing:
                error = right - sum(w * image for w, image in zip(weights, images, strict=True))
                if bool((norm(error) <= forcing * norm(right)).all()):
                    break
            v = images[-1]
        return torch.stack([w * u for w, u in zip(weights, basis, strict=True)]).sum(0)
