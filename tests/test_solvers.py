"""What every solver in the registry owes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from rnri_core.solvers import SOLVERS, WRAPPERS, solver
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.solve import Status, solve
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.problems import (
    PROBLEMS,
    SHAPE,
    Problem,
    gaussian_denoiser,
    gaussian_schedule,
    normal,
    solved,
)

DTYPES = (torch.float32, torch.float64)

DECLARED = {
    name: f"{name}:{kind.converges}" if kind.converges else name
    for name, kind in SOLVERS.items()
    if kind.converges is not None
}
"""Solvers that declare to converge, with the options that they name for it."""

VARIANTS = (
    "fixed-point:damping=0.8",
    "newton-krylov:products=exact",
    "newton-krylov:forcing=0.5",
    "rnri+polish:steps=300",
    "gnri+polish:steps=300",
    "gnri-released+polish:steps=300",
    "scalar-newton+polish:steps=300",
    "anderson+best-so-far",
    "gnri+anneal+polish:steps=300",
)
ITERATIONS = {"anderson": 60, "broyden": 60, "newton-krylov": 20, "barzilai-borwein": 200, "chebyshev": 200}
"""How many it takes of the solvers that are faster than fixed-point iteration; others have 3000."""

WRAPPED = (
    "gnri+polish:steps=2",
    "rnri+anneal+polish",
    "explicit+polish:steps=3",
    "chebyshev+best-so-far",
    "newton-krylov+best-so-far",
    "gnri+anneal:rate=0+best-so-far",
)


def test_solvers_that_converge_declare_it() -> None:
    assert {*ITERATIONS, "fixed-point", "averaged", "renoise", "gradient", "forward-step"} <= set(DECLARED)


def test_every_wrapper_is_under_contract() -> None:
    wrappers = {part.partition(":")[0] for name in (*WRAPPED, *VARIANTS) for part in name.split("+")[1:]}
    assert wrappers == set(WRAPPERS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [*DECLARED.values(), *VARIANTS])
def test_the_root_is_found(name: str, problem: str, dtype: torch.dtype) -> None:
    made = PROBLEMS[problem](dtype)
    tol = 20 * torch.finfo(dtype).eps
    limit = 305 if "+polish" in name else ITERATIONS.get(re.split("[:+]", name)[0], 3000)
    solution = solved(name, made, limit, tol)
    assert made.error(solution.z) <= made.tolerance()
    assert Status.DIVERGED not in solution.status


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [*SOLVERS, *WRAPPED])
def test_a_few_iterations_bring_the_root_nearer(name: str, problem: str) -> None:
    made = PROBLEMS[problem](torch.float64)
    solution = solved(name, made, 4)
    equation = made.equation()
    after = equation.residual(solution.z, equation(solution.z))
    assert (after <= solution.residuals[0] * (1 + 1e-12)).all()


@pytest.mark.parametrize("tol", [None, 1e-3])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [*SOLVERS, "newton-krylov:products=exact", "newton-krylov:forcing=0.5", *WRAPPED])
def test_a_batch_equals_one_by_one(name: str, problem: str, tol: float | None) -> None:
    made = PROBLEMS[problem](torch.float32)
    start = made.start.clone()
    start[1] = made.root[1]  # one image at rest from the start

    def single(k: int) -> Problem:
        def g(z: Tensor) -> Tensor:
            return made.g(torch.cat([z if i == k else start[i : i + 1] for i in range(len(start))]))[k : k + 1]

        return Problem(g, made.root[k : k + 1], made.rate, made.bounds, start[k : k + 1])

    together = solve(made.equation(), start, solver(name), max_iter=6, tol=tol)
    for k in range(len(start)):
        alone = solved(name, single(k), 6, tol)
        assert torch.equal(together.z[k : k + 1], alone.z)
        assert torch.equal(together.residual[k : k + 1], alone.residual)
        assert together.status[k] == alone.status[0]


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [*SOLVERS, "newton-krylov:products=exact", "newton-krylov:forcing=0.5", *WRAPPED])
def test_a_start_at_the_root_stays_there(name: str, problem: str) -> None:
    made = PROBLEMS[problem](torch.float32)
    there = made.g(made.root)  # the root but for rounding
    equation = Equation(lambda z: made.root + (made.g(z) - there))
    solution = solve(equation, made.root, solver(name), max_iter=5)
    assert solution.status == (Status.FIXED_BUDGET,) * SHAPE[0]
    assert torch.equal(solution.z, made.root)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", [*SOLVERS, *WRAPPED])
def test_the_residual_stated_is_that_of_a_point_evaluated(name: str, problem: str) -> None:
    solution = solved(name, PROBLEMS[problem](torch.float32), 5)
    assert (solution.residual == solution.residuals).any(0).all()
    assert not (solution.residual > solution.residuals[-1]).any()


@pytest.mark.parametrize("name", [*SOLVERS, *WRAPPED])
def test_solving_is_pure_and_repeatable(name: str) -> None:
    made = PROBLEMS["saturating"](torch.float32)
    start, state = made.start.clone(), torch.get_rng_state()
    first, second = solved(name, made, 5), solved(name, made, 5)
    assert torch.equal(first.z, second.z)
    assert torch.equal(made.start, start)
    assert torch.equal(state, torch.get_rng_state())
    assert not first.z.requires_grad


class NoWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails on anything that needs a value back from the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        assert "_local_scalar_dense" not in name, f"{name} waits for the device"
        assert "nonzero" not in name, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


def no_waiting() -> NoWaiting:
    return NoWaiting()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", [*SOLVERS, *WRAPPED])
def test_a_fixed_budget_never_waits_for_the_device(name: str) -> None:
    step, clean = gaussian_schedule()[1], normal(*SHAPE, seed=3, dtype=torch.float32)
    equation = step.equation(gaussian_denoiser, clean, clean)
    with no_waiting():
        solution = solve(equation, clean, solver(name), max_iter=4)
    assert solution.status == (Status.FIXED_BUDGET,) * SHAPE[0]


def test_the_watch_for_waiting_works() -> None:
    with no_waiting(), pytest.raises(AssertionError, match="waits"):
        torch.ones(1).item()


@pytest.mark.parametrize("name", [*SOLVERS, *WRAPPED])
def test_a_network_that_fails_is_reported(name: str) -> None:
    solution = solve(Equation(lambda z: z * float("nan")), torch.ones(2, 3), solver(name), max_iter=3)
    assert solution.status == (Status.DIVERGED,) * 2
    assert torch.equal(solution.z, torch.ones(2, 3))
