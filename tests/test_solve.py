"""The loop: what it stops at, what it says, and what it must never do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rnri_core.solvers import solver
from rnri_core.solvers.equation import Equation, dot, l1, norm
from rnri_core.solvers.solve import DIVERGENCE, Progress, Solver, Status, solve
from torch import Tensor

from tests import tiny
from tests.problems import DIMENSION, PROBLEMS, SHAPE, linear, normal

PLAIN = solver("fixed-point")


@dataclass(frozen=True)
class Scripted(Solver):
    """Proposes the given points one after the other, as full images."""

    points: tuple[float, ...]

    def init(self, z: Tensor, max_iter: int) -> int:
        return 0

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: int) -> tuple[Tensor, int]:
        return torch.full_like(z, self.points[state]), state + 1


def zero() -> Equation:
    """z = 0, whose residual is |z|."""
    return Equation(lambda z: 0 * z)


def start(value: float) -> Tensor:
    return torch.full((1, 1), value)


def test_one_iteration_of_fixed_point_is_explicit_inversion() -> None:
    problem = PROBLEMS["saturating"](torch.float32)
    one = solve(problem.equation(), problem.start, PLAIN, max_iter=1)
    explicit = solve(problem.equation(), problem.start, solver("explicit"), max_iter=7)
    assert torch.equal(one.z, problem.g(problem.start))
    assert torch.equal(explicit.z, one.z)
    assert one.nfe == explicit.nfe == 1


def test_every_iteration_is_one_call_and_one_row() -> None:
    problem = PROBLEMS["contraction"](torch.float32)
    solution = solve(problem.equation(), problem.start, PLAIN, max_iter=5)
    assert (solution.nfe, solution.njvp, solution.nvjp) == (5, 0, 0)
    assert solution.residuals.shape == (5, SHAPE[0])
    assert torch.equal(solution.residual, solution.residuals[-1])
    assert solution.status == (Status.FIXED_BUDGET,) * SHAPE[0]


def test_counts_are_of_this_solve_alone() -> None:
    equation = zero()
    equation(start(1.0))
    assert solve(equation, start(1.0), PLAIN, max_iter=2).nfe == 2


def test_residuals_are_those_of_the_points_evaluated() -> None:
    solution = solve(zero(), start(8.0), Scripted((4.0, 2.0, 1.0)), max_iter=3)
    assert solution.residuals.flatten().tolist() == [8.0, 4.0, 2.0]
    assert solution.z.item() == 1.0


@dataclass(frozen=True)
class Restarting(Scripted):
    """Goes back to the best point where the residual grew, and proposes what was to come after it."""

    def advance(self, eq: Equation, progress: Progress, state: int) -> tuple[Tensor, int]:
        progress.restart()
        return self.update(eq, progress.z, progress.gz, state)


@dataclass(frozen=True)
class Ranking(Scripted):
    """Answers with g at the point of the largest residual."""

    def advance(self, eq: Equation, progress: Progress, state: int) -> tuple[Tensor, int]:
        best = progress.rank(-progress.residual[:, None])
        if state == len(self.points):
            return progress.answer(best), state
        return self.update(eq, progress.z, progress.gz, state)


def test_the_residual_is_that_of_the_point_the_answer_was_made_from() -> None:
    solution = solve(zero(), start(8.0), Restarting((9.0, 7.0)), max_iter=2)
    assert solution.residuals.flatten().tolist() == [8.0, 9.0]
    assert solution.residual.item() == 8.0
    converged = solve(zero(), start(8.0), Restarting((9.0, 0.25, 3.0)), max_iter=3, tol=0.5)
    assert (converged.residual.item(), converged.z.item()) == (0.25, 0.25)


def test_restarts_are_from_the_best_point_where_the_residual_grew() -> None:
    progress = Progress(torch.zeros(2, 1))
    for z, residual in (([4.0, 4.0], [2.0, 2.0]), ([5.0, 5.0], [3.0, 1.0])):
        point = torch.tensor(z)[:, None]
        progress.evaluate(point, -point, torch.tensor(residual))
    assert progress.origin.tolist() == [3.0, 1.0]
    grew, points, values = progress.restart(growth=1.25)
    assert grew.flatten().tolist() == [True, False]
    assert points.flatten().tolist() == [4.0, 5.0]
    assert values.flatten().tolist() == [-4.0, -5.0]
    assert progress.origin.tolist() == [2.0, 1.0]
    assert not progress.restart(growth=1.5)[0].any()


def test_a_solver_may_rank_points_by_its_own_measure() -> None:
    solution = solve(Equation(lambda z: z / 2), start(2.0), Ranking((8.0, 1.0)), max_iter=3)
    assert solution.residuals.flatten().tolist() == [1.0, 4.0, 0.5]
    assert (solution.z.item(), solution.residual.item()) == (4.0, 4.0)


def test_a_solver_without_a_rule_is_named() -> None:
    class Idle(Solver): ...

    with pytest.raises(NotImplementedError, match="Idle has neither update nor advance"):
        solve(zero(), start(1.0), Idle(), max_iter=1)


def test_converged_images_keep_the_point_that_was_measured() -> None:
    solution = solve(zero(), start(8.0), Scripted((4.0, 0.5, 9.0)), max_iter=9, tol=0.5)
    assert solution.status == (Status.CONVERGED,)
    assert solution.z.item() == 0.5
    assert solution.residual.item() == 0.5
    assert solution.nfe == 3
    assert solution.check() is solution


def test_running_out_of_iterations_is_said_and_raised_on_request() -> None:
    solution = solve(zero(), start(8.0), Scripted((4.0, 2.0)), max_iter=2, tol=1e-3)
    assert solution.status == (Status.MAX_ITER,)
    with pytest.raises(ArithmeticError, match=r"image 0 ended MAX_ITER at residual 4: .* raise max_iter"):
        solution.check()


@pytest.mark.parametrize("tol", [None, 1e-3])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 9 * DIVERGENCE])
def test_divergence_returns_the_best_point(tol: float | None, bad: float) -> None:
    solution = solve(zero(), start(8.0), Scripted((2.0, 4.0, bad, 0.0)), max_iter=4, tol=tol)
    assert solution.status == (Status.DIVERGED,)
    assert solution.z.item() == 2.0
    assert solution.residual.item() == 2.0
    with pytest.raises(ArithmeticError, match="DIVERGED"):
        solution.check()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_last_update_that_is_not_finite_is_not_returned(bad: float) -> None:
    solution = solve(zero(), start(8.0), Scripted((2.0, bad)), max_iter=2)
    assert solution.status == (Status.DIVERGED,)
    assert solution.z.item() == 2.0


def test_a_start_that_is_not_finite_diverges() -> None:
    solution = solve(zero(), start(float("nan")), PLAIN, max_iter=3)
    assert solution.status == (Status.DIVERGED,)


def test_a_norm_above_one_diverges_under_fixed_point() -> None:
    problem = linear(torch.float64, torch.linspace(-1.4, 0.5, DIMENSION))
    solution = solve(problem.equation(), problem.start, PLAIN, max_iter=100, tol=1e-8)
    assert solution.status == (Status.DIVERGED,) * SHAPE[0]
    assert solution.z.isfinite().all()


def test_each_image_ends_by_itself() -> None:
    scale = torch.tensor([0.1, 0.9, 3.0])[:, None]
    solution = solve(Equation(lambda z: scale * z), torch.ones(3, 1), PLAIN, max_iter=20, tol=1e-3)
    assert solution.status == (Status.CONVERGED, Status.MAX_ITER, Status.DIVERGED)


def test_the_residual_is_relative_to_the_target() -> None:
    equation = Equation(lambda z: 0 * z, target=torch.tensor([[3.0, 4.0]]), gain=-2.0)
    z = torch.tensor([[1.0, 0.0]])
    assert equation.residual(z, equation(z)).tolist() == pytest.approx([0.4])


def test_low_precision_is_solved_in_float32() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert solve(zero(), torch.ones(1, 1, dtype=dtype), PLAIN, max_iter=1).z.dtype == torch.float32
    assert solve(zero(), torch.ones(1, 1, dtype=torch.float64), PLAIN, max_iter=1).z.dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_iter": 0}, "max_iter=0"), ({"max_iter": 1, "tol": 0.0}, "tol=0.0"), ({"max_iter": 1, "tol": -1}, "tol=-1")],
)
def test_bad_limits_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(zero(), start(1.0), PLAIN, **options)


@given(st.integers(1, 5), st.integers(1, 400), st.integers(0, 10_000))
def test_reductions_do_not_depend_on_the_batch(batch: int, size: int, seed: int) -> None:
    x, y = normal(batch, size, seed=seed, dtype=torch.float32), normal(batch, size, seed=seed + 1, dtype=torch.float32)
    assert dot(x, y).shape == (batch, 1)
    assert torch.equal(dot(x, y)[:1], dot(x[:1], y[:1]))
    for reduce in (norm, l1):
        assert torch.equal(reduce(x)[:1], reduce(x[:1]))


@pytest.mark.parametrize("name", PROBLEMS)
def test_products_are_the_jacobian(name: str) -> None:
    """jvp, vjp and the forward difference against the Jacobian that autograd writes out."""
    problem = PROBLEMS[name](torch.float64)
    equation, z, v = problem.equation(), normal(*SHAPE, seed=1), normal(*SHAPE, seed=2)
    jacobian = torch.func.jacrev(problem.g)(z).reshape(z.numel(), z.numel())
    expected = (jacobian @ v.flatten()).view(SHAPE)
    torch.testing.assert_close(equation.jvp(z, v), expected)
    torch.testing.assert_close(equation.vjp(z, v), (jacobian.T @ v.flatten()).view(SHAPE))
    torch.testing.assert_close(equation.difference(z, problem.g(z), v), expected, rtol=1e-2, atol=1e-2)
    assert (equation.nfe, equation.njvp, equation.nvjp) == (1, 1, 1)


def test_exact_products_go_through_a_real_unet() -> None:
    """⟨w, J v⟩ = ⟨Jᵀ w, v⟩, and J v is what the difference says, attention and group norms included."""
    unet = tiny.pipeline().unet.double()
    words = normal(1, tiny.LENGTH, unet.config["cross_attention_dim"], seed=3)
    shape = (2, unet.config["in_channels"], 8, 8)
    z, v, w = (normal(*shape, seed=seed) for seed in (4, 5, 6))
    equation = Equation(lambda z: unet(z, 500, encoder_hidden_states=words.expand(len(z), -1, -1)).sample)
    product = equation.jvp(z, v)
    torch.testing.assert_close(dot(w, product), dot(equation.vjp(z, w), v))
    difference = equation.difference(z, equation(z), v, relative=1e-6)
    torch.testing.assert_close(difference, product, rtol=1e-4, atol=1e-4)
