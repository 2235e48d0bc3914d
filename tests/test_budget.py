"""What iterations cost, and how calls are spread over steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import pytest
import torch
from rnri_core.inversion.budget import CAP, allot, cost
from rnri_core.sampling.schedules import ddim, flow
from rnri_core.sampling.steps import Schedule
from rnri_core.solvers import SOLVERS, solver
from rnri_core.solvers.solve import solve

from rnri import Inversion, invert
from tests.problems import ALPHAS_CUMPROD, PROBLEMS, gaussian_denoiser, normal


def steps(count: int) -> Schedule:
    return ddim(ALPHAS_CUMPROD, [999 - 1000 * k // count for k in range(count)])


def inverted(name: str, calls: int, count: int = 4) -> Inversion:
    schedule = steps(count)
    method = solver(name)
    result: Inversion = invert(
        gaussian_denoiser, schedule, normal(2, 3, 4, 4, seed=0), method, iterations=allot(schedule, calls, method)
    )
    return result


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("name", [*SOLVERS, "newton-krylov:products=exact", "newton-krylov:directions=1"])
def test_the_cost_is_what_solving_takes(name: str, iterations: int) -> None:
    made = PROBLEMS["saturating"](torch.float32)
    solution = solve(made.equation(), made.start, solver(name), max_iter=iterations)
    assert cost(solver(name), iterations) == solution.calls == solution.nfe + 2 * solution.njvp + 2 * solution.nvjp


def test_inner_loops_that_may_end_early_are_priced_in_full() -> None:
    assert cost(solver("newton-krylov:directions=6,forcing=0.9"), 2) == 14


@pytest.mark.parametrize("calls", [20, 21, 33, 40])
@pytest.mark.parametrize("name", SOLVERS)
def test_an_inversion_costs_what_was_allotted(name: str, calls: int) -> None:
    spent = inverted(name, calls).calls
    assert spent <= calls
    if name == "explicit":
        assert spent == 4
    else:
        method = solver(name)
        assert calls - spent < cost(method, 3) - cost(method, 2)  # nothing is left that buys another iteration


@pytest.mark.parametrize(
    ("count", "calls", "plan"),
    [
        (4, 4, [1, 1, 1, 1]),
        (4, 8, [5, 1, 1, 1]),
        (4, 12, [9, 1, 1, 1]),
        (8, 12, [5, 1, 1, 1, 1, 1, 1, 1]),
        (20, 24, [5] + [1] * 19),
    ],
)
def test_calls_go_where_the_spectrum_is_wide(count: int, calls: int, plan: list[int]) -> None:
    assert allot(steps(count), calls) == plan


@pytest.mark.parametrize("calls", [5, 8, 13])
def test_no_other_plan_promises_more(calls: int) -> None:
    """Of all plans of as many calls, none has a smaller worst bound."""
    schedule = steps(4)
    betas = [min(1 - low / high, CAP) for low, high in (step.spectrum() for step in reversed(schedule))]

    def worst(plan: Iterable[int]) -> float:
        return max(1 / math.cosh(n * math.acosh(2 / beta - 1)) for n, beta in zip(plan, betas, strict=True))

    others = [plan for plan in itertools.product(range(1, calls), repeat=4) if sum(plan) == calls]
    assert worst(allot(schedule, calls)) == pytest.approx(min(map(worst, others)))


@pytest.mark.parametrize("spread", ["spectrum", "even"])
def test_more_calls_take_none_away(spread: str) -> None:
    before = [1] * 8
    for calls in range(9, 60):
        plan = allot(steps(8), calls, spread=spread)  # type: ignore[arg-type]
        assert sum(plan) == calls
        assert all(more >= less for more, less in zip(plan, before, strict=True))
        before = plan


def test_even_is_even_with_the_rest_next_to_the_image() -> None:
    assert allot(steps(4), 10, spread="even") == [3, 3, 2, 2]
    assert allot(steps(4), 20, solver("gnri"), spread="even") == [3, 2, 2, 2]


def test_a_step_without_signal_has_the_widest_spectrum() -> None:
    schedule = flow([1.0, 0.75, 0.5, 0.25, 0.0], [1000, 750, 500, 250])
    assert math.isinf(schedule[0].spectrum()[1])
    plan = allot(schedule, 12)
    assert plan[0] == plan[-1] == max(plan)


def test_too_few_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="7 calls do not buy an iteration for each of 8 steps, which cost 8"):
        allot(steps(8), 7)
    with pytest.raises(ValueError, match="for each of 4 steps, which cost 20"):
        allot(steps(4), 12, solver("newton-krylov"))
