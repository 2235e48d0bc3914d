"""The only loop: it evaluates g and judges, a solver only proposes the next point."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.solvers.equation import Equation, at_least_float32, calls

DIVERGENCE = 10.0
"""An image has diverged once its residual is this many times its first one (and above 1), or not finite."""


class Solver(Protocol):
    """A rule (z, g(z)) → next z. One image must not influence another.

    ``max_iter`` is how many iterations the method takes by definition, ``None`` for as many as it is given.
    """

    max_iter: ClassVar[int | None] = None

    def init(self, z: Tensor, max_iter: int) -> Any:
        """The state before the first of ``max_iter`` iterations, at the point ``z``."""
        ...

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next point and state; ``gz`` is g(z). After the last iteration the point is the answer."""
        ...

    def iterations(self, t: float | None) -> int:
        """How many iterations a step at timestep ``t`` takes where no budget is given."""
        return 2

    def measured(self, state: Any) -> Tensor | None:
        """The residual (B,) of the evaluated point that the answer was made from; ``None`` if that is the last one.

        Asked after the last update, of solvers that go back to a better point than the last.
        """
        return None


class Status(Enum):
    """How one image ended; the value says what that means and what to do about it."""

    CONVERGED = "the residual is below the tolerance"
    FIXED_BUDGET = "the requested number of iterations ran; give a tolerance to test for convergence"
    MAX_ITER = "the residual is above the tolerance after all iterations; raise max_iter or change the solver"
    DIVERGED = (
        "the residual exploded or is not finite, so this is the best point seen; use a damped or safeguarded solver"
    )
    NOT_SOLVED = "latents were sampled, no equation was solved; reconstruction uses the stored noise maps"


_STATUSES = tuple(Status)
_CONCERN = (Status.CONVERGED, Status.NOT_SOLVED, Status.FIXED_BUDGET, Status.MAX_ITER, Status.DIVERGED)


def worst(statuses: Iterable[Status]) -> Status:
    """The one of most concern: diverged before too few iterations, before a spent budget, before drawn,
    before converged.

    >>> worst([Status.CONVERGED, Status.DIVERGED, Status.FIXED_BUDGET]).name
    'DIVERGED'
    """
    return max(statuses, key=_CONCERN.index)


@dataclass(frozen=True, eq=False)
class Solution:
    """What :func:`solve` found, per image.

    ``z`` (B, …) is the answer. ``residuals`` (iterations, B) are those of the points evaluated.

    ``residual`` (B,) is always one of those, as nothing is evaluated for the sake of it. For an image that converged
    or diverged it is that of ``z`` itself. When the iterations ran out, ``z`` is one update beyond the points
    evaluated and its own residual is not known, though mostly smaller: then ``residual`` is that of the point the
    update started from. That is the last one, or an earlier one where the solver went back to it: the best for
    ``gnri`` and ``best-so-far``, whose answer is g there, and for accelerated solvers that overshot at the end.
    ``nfe``, ``njvp``, ``nvjp`` count what the equation was asked; ``codes`` (B,) index :class:`Status`.
    """

    z: Tensor
    residual: Tensor
    residuals: Tensor
    codes: Tensor
    nfe: int
    njvp: int
    nvjp: int

    @property
    def calls(self) -> int:
        """Network calls made, an exact product counted as two."""
        return calls(self.nfe, self.njvp, self.nvjp)

    @property
    def status(self) -> tuple[Status, ...]:
        """One :class:`Status` per image; reading it waits for the device."""
        return tuple(_STATUSES[code] for code in self.codes.tolist())

    def check(self) -> Solution:
        """This solution, or ``ArithmeticError`` if an image did not converge (or, on a fixed budget, diverged)."""
        for index, (status, residual) in enumerate(zip(self.status, self.residual.tolist(), strict=True)):
            if status in (Status.MAX_ITER, Status.DIVERGED):
                raise ArithmeticError(f"image {index} ended {status.name} at residual {residual:.2g}: {status.value}")
        return self


def solve(eq: Equation, z0: Tensor, solver: Solver, *, max_iter: int, tol: float | None = None) -> Solution:
    """Iterate ``solver`` on z = g(z) from ``z0`` (B, …), at most ``max_iter`` times, in float32 or better.

    Each iteration evaluates g once and updates once. An image whose residual is at most ``tol`` is frozen at the
    point so measured, one that diverges at the best point seen, so a batch equals its images one by one.
    With ``tol=None`` nothing waits for the device: a fixed budget, no branch on data.

    >>> from rnri_core.solvers import solver
    >>> solution = solve(Equation(torch.cos), torch.zeros(1, 1), solver("anderson"), max_iter=20, tol=1e-6)
    >>> round(solution.z.item(), 4), solution.status[0].name
    (0.7391, 'CONVERGED')
    """
    if max_iter < 1:
        raise RnriError(f"max_iter={max_iter} leaves nothing to do; give at least 1", field="max_iter")
    if tol is not None and not tol > 0:
        raise RnriError(f"tol={tol} can never be met; give a positive number, or None for a fixed budget", field="tol")
    before = (eq.nfe, eq.njvp, eq.nvjp)
    z = at_least_float32(z0)
    images = (-1, *[1] * (z.ndim - 1))
    limit = min(max_iter, solver.max_iter or max_iter)
    state = solver.init(z, limit)

    alive = torch.ones(len(z), dtype=torch.bool, device=z.device)
    converged, diverged = ~alive, ~alive
    best, least = z, torch.full((len(z),), math.inf, dtype=z.dtype, device=z.device)
    residual = ceiling = least
    residuals: list[Tensor] = []
    for _ in range(limit):
        gz = eq(z)
        measured = eq.residual(z, gz)
        if not residuals:
            ceiling = (DIVERGENCE * measured).clamp(1.0, torch.finfo(z.dtype).max)
        residual = torch.where(alive, measured, residual)
        residuals.append(residual)
        better = alive & (measured < least)
        best, least = torch.where(better.view(images), z, best), torch.where(better, measured, least)

        diverged = diverged | (alive & ~(measured <= ceiling))
        if tol is not None:
            converged = converged | (alive & (measured <= tol))
        alive = ~(converged | diverged)
        if tol is not None and not alive.any():
            break
        proposal, state = solver.update(eq, z, gz, state)
        z = torch.where(alive.view(images), proposal, z)

    origin = solver.measured(state)
    residual = residual if origin is None else torch.where(alive, origin, residual)
    diverged = diverged | ~z.isfinite().flatten(1).all(1)
    z, residual = torch.where(diverged.view(images), best, z), torch.where(diverged, least, residual)
    exhausted = Status.FIXED_BUDGET if tol is None else Status.MAX_ITER
    codes = torch.full_like(alive, _STATUSES.index(exhausted), dtype=torch.uint8)
    codes = codes.masked_fill(converged, _STATUSES.index(Status.CONVERGED))
    codes = codes.masked_fill(diverged, _STATUSES.index(Status.DIVERGED))
    nfe, njvp, nvjp = (now - then for now, then in zip((eq.nfe, eq.njvp, eq.nvjp), before, strict=True))
    return Solution(z, residual, torch.stack(residuals), codes, nfe, njvp, nvjp)
