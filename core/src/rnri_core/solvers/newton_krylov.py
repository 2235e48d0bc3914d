"""Newton's method, its linear systems solved in a Krylov space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation, dot, norm
from rnri_core.solvers.least_squares import combine
from rnri_core.solvers.solve import Progress


@dataclass(frozen=True)
class NewtonKrylov(Method):
    """z ← z + Δ, (I − ∂g/∂z) Δ = g(z) − z solved by GMRES: Δ in the Krylov space, of the smallest residual.

    Each direction costs a call (``difference``) or an exact product (``exact``). With ``forcing`` above 0 the
    directions end once the linear residual is below η_k, Eisenstat and Walker's second choice, at most ``forcing``;
    that waits for the device. A step that makes the residual grow is halved until it does not.

    >>> from rnri_core.solvers.solve import solve
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), NewtonKrylov(), max_iter=100, tol=1e-5)
    >>> round(solution.z.item(), 3), solution.calls
    (0.739, 21)
    """

    source: ClassVar = publications.NEWTON_KRYLOV
    passage: ClassVar = "Section 2, with forcing by Eisenstat and Walker 1996, Eq. 2.6"
    further: ClassVar = (publications.EISENSTAT_WALKER,)

    directions: int = option(4, "the most directions per Newton step", low=1, high=100)
    products: Literal["difference", "exact"] = option(
        "difference", "Jacobian products by forward differences, or exact"
    )
    forcing: float = option(
        0.0, "the largest relative error of a linear solve; 0 takes every direction", low=0.0, high=0.9
    )

    def advance(self, eq: Equation, progress: Progress, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """``state`` is ‖g(z) − z‖ at the last point, (B, 1, …, 1)."""
        z, gz = progress.z, progress.gz
        grew, best, _ = progress.restart()
        length = norm(gz - z)
        before = length if state is None else state
        ratio = torch.where(before > 0, length / before, 0.0)  # at a root both are 0
        step = self._solve(eq, z, gz, (0.9 * ratio**2).clamp_max(self.forcing) * length)
        return torch.where(grew, best + (z - best) / 2, z + step), length

    def _solve(self, eq: Equation, z: Tensor, gz: Tensor, error: Tensor) -> Tensor:
        """Δ with ‖(I − ∂g/∂z) Δ − (g(z) − z)‖ at most ``error`` (B, 1, …, 1), or the best that all directions give."""
        right = v = gz - z
        step, unsolved = torch.zeros_like(z), torch.ones_like(error, dtype=torch.bool)
        basis: list[Tensor] = []
        images: list[Tensor] = []
        for _ in range(self.directions):
            for u in basis:
                v = v - dot(u, v) * u
            length = norm(v)
            v = v / torch.where(length > 0, length, 1.0)
            product = eq.jvp(z, v) if self.products == "exact" else eq.difference(z, gz, v)
            basis.append(v)
            images.append(v - product)
            weights = combine(images, right, torch.finfo(z.dtype).eps)
            step = torch.where(unsolved, _sum(weights, basis), step)
            if self.forcing:
                unsolved = unsolved & (norm(right - _sum(weights, images)) > error)
                if not unsolved.any():
                    break
            v = images[-1]
        return step


def _sum(weights: list[Tensor], vectors: list[Tensor]) -> Tensor:
    """Σ weight · vector."""
    return torch.stack([weight * vector for weight, vector in zip(weights, vectors, strict=True)]).sum(0)
