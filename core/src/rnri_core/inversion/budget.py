"""Network calls: the cost of iterations, and their allotment to the steps of a schedule.

Every call of the network is counted, an exact Jacobian product (jvp or vjp) as two. Methods are comparable at
equal calls, not at equal iterations.
"""

from __future__ import annotations

import math
from typing import Literal

import torch

from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Schedule, Step
from rnri_core.solvers.solve import Solver, solve
from rnri_core.solvers.step_equation import Gaussian, Priors, StepEquation

Spread = Literal["spectrum", "even"]
"""Allotment of calls to steps: by the bounds of their spectra, or as evenly as they divide."""

CAP = 0.995
"""β counts as no larger than this: next to the image it is 1, and no number of calls would be enough.

Chosen on the tuning split: 12 calls for 4 steps of `scenes-turbo`, and 40 for 20 of `scenes`, leave 0.7 of the error
that they leave with 0.98.
"""


def cost(solver: Solver, iterations: int) -> int:
    """Network calls that ``iterations`` of ``solver`` make on one equation at most, products counted as two.

    Counted on an equation on which no solver makes progress: 1 − ∂g is a cyclic shift, the worst case of Krylov
    methods. So it is exact where every call is always made, and the most where a solver may end an inner loop early.

    Args:
        solver: the solver.
        iterations: iterations on one equation, from 1.

    >>> from rnri_core.solvers import solver
    >>> [cost(solver(name), 3) for name in ("explicit", "fixed-point", "gnri", "newton-krylov:directions=2")]
    [1, 3, 7, 9]
    """
    right = torch.zeros(1, 1, 16, 16)
    right[..., 0, 0] = 1.0
    priors = Priors(math.inf, *[Gaussian(right, 0.0, 1.0)] * 4)
    equation = StepEquation(lambda z: z - z.roll(1) + right, priors=priors)
    return solve(equation, 0 * right, solver, max_iter=iterations).calls


def allot(schedule: Schedule, calls: int, solver: Solver | None = None, *, spread: Spread = "spectrum") -> list[int]:
    """Iterations of each step that together cost at most ``calls``: a plan for :class:`Implicit`.

    Every step gets one iteration. Each further one goes to the step whose error may still be the largest. By
    ``spectrum`` that is the step with the largest bound 1/T_n((2 − β)/β) after its n iterations, T_n being Chebyshev's
    polynomial: the best that n calls can promise where the eigenvalues of ∂z_clean/∂z lie in [σ′/σ, α′/α]
    (:meth:`Step.spectrum`), β = 1 − σ′α/(σα′), whatever the prediction type. β is 1 next to the image and small away
    from both ends, so that few calls go where few are needed. By ``even`` it is the step with the fewest iterations,
    the nearest to the image of equal ones: the allotment of methods that do not use the schedule.

    Args:
        schedule: K steps, noisy to clean.
        calls: network calls in all; what is too little for another iteration is left over.
        solver: the solver whose iterations are paid for; without one each iteration costs one call.
        spread: ``"spectrum"`` or ``"even"``.

    Returns:
        K numbers of iterations, from the image outwards.

    Raises:
        RnriError: where ``calls`` are too few for one iteration of every step.

    >>> from rnri_core.sampling.schedules import ddim
    >>> from rnri_core.solvers import solver
    >>> steps = ddim(torch.linspace(0.9995, 0.99, 1000).cumprod(0), [999, 749, 499, 249])
    >>> allot(steps, 12), allot(steps, 12, spread="even"), allot(steps, 12, solver("gnri"), spread="even")
    ([9, 1, 1, 1], [3, 3, 3, 3], [2, 2, 1, 1])
    """
    costs = {0: 0}

    def price(iterations: int) -> int:
        if iterations not in costs:
            costs[iterations] = iterations if solver is None else cost(solver, iterations)
        return costs[iterations]

    rates = [_rate(step) if spread == "spectrum" else None for step in reversed(schedule)]
    left, plan = calls - len(schedule) * price(1), [1] * len(schedule)
    if left < 0:
        raise RnriError(
            f"{calls} calls do not buy an iteration for each of {len(schedule)} steps, "
            f"which cost {len(schedule) * price(1)}",
            hint="give more, or take fewer steps or another solver",
        )
    while True:
        for k in sorted(range(len(plan)), key=lambda k: -_error(rates[k], plan[k])):
            extra = price(plan[k] + 1) - price(plan[k])
            if 0 < extra <= left:
                plan[k], left = plan[k] + 1, left - extra
                break
        else:
            return plan


def _rate(step: Step) -> float:
    """ρ = (1 − √(1 − β))/(1 + √(1 − β)), by which each Chebyshev iteration shrinks the error in the long run."""
    low, high = step.spectrum()
    root = math.sqrt(max(low / high, 1 - CAP))
    return (1 - root) / (1 + root)


def _error(rate: float | None, iterations: int) -> float:
    """1/T_n((2 − β)/β) = 2ρⁿ/(1 + ρ²ⁿ); without a rate only the order by n matters."""
    return 1 / iterations if rate is None else 2 * rate**iterations / (1 + rate ** (2 * iterations))
