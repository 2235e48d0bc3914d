"""The loop of every solver: evaluates g, tests convergence, keeps the best point, asks the solver for the next one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.solvers.equation import Equation, at_least_float32, calls

DIVERGENCE = 10.0
"""An image has diverged once its residual is this many times its first one (and above 1), or not finite."""


class Best(NamedTuple):
    """The point of each image with the smallest ``score`` so far, with g and the residual there.

    Attributes:
        z, gz: the point and g(z), both (B, …).
        score: what was compared, (B,); the residual, unless a solver ranks points by another measure.
        residual: the residual of the point, (B,).
    """

    z: Tensor
    gz: Tensor
    score: Tensor
    residual: Tensor


class Progress:
    """The point that the loop evaluated last, and the best point so far: what :meth:`Solver.advance` may go back to.

    The loop makes one for each solve and keeps it up to date. :meth:`restart`, :meth:`rank` and :meth:`answer` are for
    solvers; :attr:`origin` is the residual of the point that the next one is made from.

    Attributes:
        z, gz: the point evaluated last and g(z), both (B, …).
        residual: the residual there, (B,).
        best: the point of smallest residual, the last one included.
        origin: the residual (B,) of the point that the solver went on from.

    >>> progress = Progress(torch.zeros(1, 1))
    >>> for z, residual in ((1.0, 0.5), (3.0, 2.0)):
    ...     progress.evaluate(torch.full((1, 1), z), torch.full((1, 1), -z), torch.tensor([residual]))
    >>> grew, z, gz = progress.restart(growth=2.0)
    >>> grew.item(), z.item(), gz.item(), progress.origin.item()
    (True, 1.0, -1.0, 0.5)
    """

    def __init__(self, z: Tensor) -> None:
        never = torch.full((len(z),), math.inf, dtype=z.dtype, device=z.device)
        self.z = self.gz = z
        self.residual = self.origin = never
        self.best = self._ranked = Best(z, z, never, never)

    def evaluate(self, z: Tensor, gz: Tensor, residual: Tensor) -> None:
        """Take in an evaluated point; called by the loop."""
        self.z, self.gz, self.residual = z, gz, residual
        self.best = self._least(self.best, residual)
        self.origin = residual

    def restart(self, growth: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """The point to go on from: the best one where the residual exceeds ``growth`` times the smallest, or the last.

        Returns:
            Where it does, (B, 1, …, 1), and the points and g there, both (B, …).
        """
        grew = ~(self.residual <= growth * self.best.residual)
        self.origin = torch.where(grew, self.best.residual, self.residual)
        grew = _per_image(grew, self.z)
        return grew, torch.where(grew, self.best.z, self.z), torch.where(grew, self.best.gz, self.gz)

    def rank(self, score: Tensor) -> Best:
        """The best point by a measure of the solver's own, given for each point in turn, (B, 1, …, 1)."""
        self._ranked = self._least(self._ranked, score.flatten())
        return self._ranked

    def answer(self, best: Best) -> Tensor:
        """g at ``best``, (B, …), as the next point: the last proposal of solvers that return the best point."""
        self.origin = best.residual
        return best.gz

    def _least(self, best: Best, score: Tensor) -> Best:
        better, last = score < best.score, Best(self.z, self.gz, score, self.residual)
        return Best(*(torch.where(_per_image(better, new), new, old) for new, old in zip(last, best, strict=True)))


class Solver(Protocol):
    """A rule (z, g(z)) → next z. One image must not influence another.

    A solver implements :meth:`update`, or :meth:`advance` in place of it if it returns to the best point so far, and
    :meth:`init` if it has a state. ``max_iter`` is how many iterations the method takes by definition, ``None`` for as
    many as requested.

    >>> class Halfway(Solver):
    ...     def update(self, eq: Equation, z: Tensor, gz: Tensor, state: None) -> tuple[Tensor, None]:
    ...         return (z + gz) / 2, None
    >>> round(solve(Equation(torch.cos), torch.zeros(1, 1), Halfway(), max_iter=20).z.item(), 4)
    0.7391
    """

    max_iter: ClassVar[int | None] = None

    def init(self, z: Tensor, max_iter: int) -> Any:
        """The state before the first of ``max_iter`` iterations, at the point ``z`` (B, …); ``None`` by default."""
        return None

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next point (B, …) and state; ``gz`` is g(z). After the last iteration the point is the answer."""
        name = type(self).__name__
        raise NotImplementedError(f"{name} has neither update nor advance")

    def advance(self, eq: Equation, progress: Progress, state: Any) -> tuple[Tensor, Any]:
        """As :meth:`update`, with the best point so far at hand; by default it calls that."""
        return self.update(eq, progress.z, progress.gz, state)

    def iterations(self, t: float | None) -> int:
        """Iterations of a step at timestep ``t`` where no number is given."""
        return 2


class Status(Enum):
    """Outcome of the iterations for one image; the value is a sentence with the meaning and the cure.

    >>> Status.CONVERGED.value
    'the residual is below the tolerance'
    """

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
    """The status of most concern: DIVERGED, MAX_ITER, FIXED_BUDGET, NOT_SOLVED, CONVERGED, in this order.

    >>> worst([Status.CONVERGED, Status.DIVERGED, Status.FIXED_BUDGET]).name
    'DIVERGED'
    """
    return max(statuses, key=_CONCERN.index)


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of :func:`solve` for a batch of B images.

    Attributes:
        z: the answer, (B, …).
        residual: (B,), of an evaluated point. For an image that converged or diverged that is ``z`` itself. When the
            iterations ran out, ``z`` is one update beyond the points evaluated, and the residual is that of the point
            from which the update was made: the last one, or the best one where the solver went back to it.
        residuals: those of all points evaluated, (iterations, B).
        codes: index of :class:`Status` for each image, (B,).
        nfe, njvp, nvjp: evaluations of g, exact Jacobian products and exact transposed products.
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
        """This solution.

        Raises:
            ArithmeticError: if an image has the status MAX_ITER or DIVERGED.
        """
        for index, (status, residual) in enumerate(zip(self.status, self.residual.tolist(), strict=True)):
            if status in (Status.MAX_ITER, Status.DIVERGED):
                raise ArithmeticError(f"image {index} ended {status.name} at residual {residual:.2g}: {status.value}")
        return self


def solve(eq: Equation, z0: Tensor, solver: Solver, *, max_iter: int, tol: float | None = None) -> Solution:
    """Iterate a solver on z = g(z), in float32 or better; each iteration evaluates g once and updates once.

    Args:
        eq: the equation, one root per image.
        z0: the initial guess, (B, …).
        solver: the rule from z and g(z) to the next z.
        max_iter: number of iterations, from 1; a solver's own ``max_iter`` may be lower.
        tol: residual, above 0, at which an image stops, frozen at the point where it was measured. ``None`` for a fixed
            number of iterations, which never waits for the device.

    Returns:
        The answer per image, with residuals and counts. An image that diverges has the best point as its answer.
        A batch equals its images one by one.

    Raises:
        RnriError: for ``max_iter`` below 1 and for ``tol`` that is not positive.

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
    limit = min(max_iter, solver.max_iter or max_iter)
    state = solver.init(z, limit)

    alive = torch.ones(len(z), dtype=torch.bool, device=z.device)
    converged, diverged = ~alive, ~alive
    progress = Progress(z)
    residual = ceiling = progress.residual
    residuals: list[Tensor] = []
    for _ in range(limit):
        gz = eq(z)
        measured = eq.residual(z, gz)
        if not residuals:
            ceiling = (DIVERGENCE * measured).clamp(1.0, torch.finfo(z.dtype).max)
        residual = torch.where(alive, measured, residual)
        residuals.append(residual)
        progress.evaluate(z, gz, measured)

        diverged = diverged | (alive & ~(measured <= ceiling))
        if tol is not None:
            converged = converged | (alive & (measured <= tol))
        alive = ~(converged | diverged)
        if tol is not None and not alive.any():
            break
        proposal, state = solver.advance(eq, progress, state)
        z = torch.where(_per_image(alive, z), proposal, z)

    residual = torch.where(alive, progress.origin, residual)
    diverged = diverged | ~z.isfinite().flatten(1).all(1)
    z = torch.where(_per_image(diverged, z), progress.best.z, z)
    residual = torch.where(diverged, progress.best.residual, residual)
    exhausted = Status.FIXED_BUDGET if tol is None else Status.MAX_ITER
    codes = torch.full_like(alive, _STATUSES.index(exhausted), dtype=torch.uint8)
    codes = codes.masked_fill(converged, _STATUSES.index(Status.CONVERGED))
    codes = codes.masked_fill(diverged, _STATUSES.index(Status.DIVERGED))
    nfe, njvp, nvjp = (now - then for now, then in zip((eq.nfe, eq.njvp, eq.nvjp), before, strict=True))
    return Solution(z, residual, torch.stack(residuals), codes, nfe, njvp, nvjp)


def _per_image(flags: Tensor, z: Tensor) -> Tensor:
    """(B,) as (B, 1, …, 1), to broadcast against ``z`` (B, …)."""
    return flags.view(-1, *[1] * (z.ndim - 1))
