"""What makes each solver itself: exact cases, limits, and the papers' formulas written out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from rnri_core.sampling.steps import Step
from rnri_core.solvers import solver
from rnri_core.solvers.anneal import Anneal
from rnri_core.solvers.equation import Equation, l1, norm
from rnri_core.solvers.gnri import Gnri
from rnri_core.solvers.newton_raphson import NewtonRaphson
from rnri_core.solvers.polish import Polish
from rnri_core.solvers.solve import Status, solve
from rnri_core.solvers.step_equation import StepEquation
from torch import Tensor

from rnri.references import citation
from tests.problems import (
    DIMENSION,
    PROBLEMS,
    SHAPE,
    Problem,
    gaussian_denoiser,
    gaussian_schedule,
    linear,
    normal,
    saturating,
    solved,
)


def test_newton_takes_one_step_on_a_linear_map() -> None:
    for make in (PROBLEMS["contraction"], lambda dtype: linear(dtype, torch.linspace(-1.4, 0.5, DIMENSION))):
        made = make(torch.float64)
        solution = solved(f"newton-krylov:products=exact,directions={DIMENSION}", made, 1)
        assert made.error(solution.z) < 1e-9
        assert (solution.nfe, solution.njvp) == (1, DIMENSION)


def test_newton_stops_gracefully_when_the_krylov_space_is_exhausted() -> None:
    made = linear(torch.float64, torch.tensor([0.5] * 6 + [0.2] * 6))  # two eigenvalues: two directions are all
    assert made.error(solved("newton-krylov:products=exact,directions=9", made, 2).z) < 1e-9


def test_forcing_saves_directions() -> None:
    made = saturating(torch.float64)
    eager, lazy = (solved(f"newton-krylov:directions=8,forcing={f}", made, 30, 1e-10) for f in (0, 0.5))
    assert lazy.status == eager.status == (Status.CONVERGED,) * SHAPE[0]
    assert lazy.nfe < eager.nfe


@pytest.mark.parametrize("name", ["anderson:memory=10", "barzilai-borwein", "broyden", "chebyshev", "newton-krylov"])
def test_an_expansive_map_is_solved_where_fixed_point_diverges(name: str) -> None:
    made = linear(torch.float64, torch.linspace(-1.6, 0.6, DIMENSION))
    made = Problem(made.g, made.root, made.rate, (0.0, 0.6), made.start)
    assert solved("fixed-point", made, 100, 1e-8).status == (Status.DIVERGED,) * SHAPE[0]
    assert solved(name, made, 100, 1e-8).status == (Status.CONVERGED,) * SHAPE[0]


def test_anderson_and_broyden_are_finite_on_a_linear_map() -> None:
    made = PROBLEMS["contraction"](torch.float64)
    assert made.error(solved("anderson:memory=20,ridge=1e-15", made, DIMENSION + 3).z) < 1e-5
    assert made.error(solved("broyden:memory=50", made, 2 * DIMENSION + 2).z) < 1e-9


def test_barzilai_borwein_inverts_the_curvature_of_its_last_move() -> None:
    """On z = z − A z + b, ω is s·A s/‖A s‖² for the last move s; with one eigenvalue that is the root at once."""
    made = linear(torch.float64, torch.linspace(0.0, 0.7, DIMENSION))
    points = [solved("barzilai-borwein", made, n).z for n in (1, 2)]
    f = [made.g(z) - z for z in (made.start, *points)]
    s, change = points[0] - made.start, f[1] - f[0]
    omega = -(s * change).flatten(1).sum(1) / change.square().flatten(1).sum(1)
    assert ((omega > 1) & (omega < 1 / 0.3)).all()
    torch.testing.assert_close(points[1], points[0] + omega.view(-1, 1, 1, 1) * f[1])
    single = linear(torch.float64, torch.full((DIMENSION,), 0.7))
    assert single.error(solved("barzilai-borwein", single, 2).z) < 1e-12


def test_barzilai_borwein_beats_fixed_point_next_to_the_image() -> None:
    made = linear(torch.float64, 1 - torch.logspace(-3, 0, DIMENSION))
    accelerated, plain = (solved(name, made, 10) for name in ("barzilai-borwein", "fixed-point"))
    assert (accelerated.residual < 0.5 * plain.residual).all()


def test_chebyshev_keeps_its_promise() -> None:
    """After k steps the error is at most that of the start over T_k((2 − low − high)/(high − low))."""
    made = linear(torch.float64, torch.linspace(-0.3, 0.85, DIMENSION))
    low, high = made.bounds
    for k in range(1, 12):
        solution = solved("chebyshev:growth=100,margin=0,lowest=-1", made, k)
        bound = 1 / math.cosh(k * math.acosh((2 - low - high) / (high - low)))
        assert (norm(solution.z - made.root) <= bound * norm(made.start - made.root) * (1 + 1e-9)).all()


def test_chebyshev_reaches_as_far_as_its_iterations_do() -> None:
    """Eigenvalues crowd below 1, as next to the image: few iterations must not try them, many should."""
    made = linear(torch.float64, 1 - torch.logspace(-4, 0, DIMENSION))
    for iterations in (3, 10, 30):
        fitted = made.error(solved("chebyshev", made, iterations).z)
        for cap in (0.7, 0.9, 0.97, 0.99):
            fixed = made.error(solved(f"chebyshev:margin={iterations * (1 - cap)}", made, iterations).z)
            assert fitted < 1.25 * fixed


def test_chebyshev_beats_fixed_point_at_equal_calls() -> None:
    made = PROBLEMS["contraction"](torch.float64)
    assert made.error(solved("chebyshev", made, 10).z) < 0.2 * made.error(solved("fixed-point", made, 10).z)


def test_chebyshev_needs_no_finite_bound() -> None:
    made = PROBLEMS["contraction"](torch.float64)
    unbounded = Equation(made.g, target=made.root, bounds=(-math.inf, made.bounds[1]))
    assert made.error(solve(unbounded, made.start, solver("chebyshev"), max_iter=100).z) < 1e-6


def guided_problem() -> tuple[StepEquation, Tensor, Step]:
    step, clean = gaussian_schedule()[1], normal(*SHAPE, seed=3)
    return step.equation(lambda z, t: gaussian_denoiser(z, t).tanh(), clean, 0.7 * clean), clean, step


def guided_objective(eq: StepEquation, z: Tensor, dense: bool = False) -> Tensor:
    """GNRI's Eq. 9, written out."""
    prior = eq.priors.dense if dense else eq.priors.effective
    length = ((z - prior.mean).square().flatten(1).sum(1) + 1e-6).sqrt()
    return (z - eq._g(z)).abs().flatten(1).sum(1) + 0.1 * length / prior.variance


def regularised_objective(eq: StepEquation, z: Tensor) -> Tensor:
    """RNRI's objective, written out."""
    prior = eq.priors.image
    away = (eq._g(z) - prior.mean).square().flatten(1).sum(1) / prior.variance
    return (z - eq._g(z)).abs().flatten(1).sum(1) + 0.1 * 0.5 * away


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("gnri", guided_objective),
        ("gnri:beta=dense", lambda eq, z: guided_objective(eq, z, dense=True)),
        ("rnri", regularised_objective),
    ],
)
def test_newton_raphson_takes_the_papers_step_with_the_real_gradient(name: str, objective: Any) -> None:
    equation, _, _ = guided_problem()
    z = normal(*SHAPE, seed=9)
    leaf = z.clone().requires_grad_()
    value = objective(equation, leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    safe = torch.where(gradient < 0, -1.0, 1.0) * gradient.abs().clamp_min(0.1)
    expected = z - value.detach().view(-1, 1, 1, 1) / DIMENSION / safe
    method = solver(name)
    assert isinstance(method, NewtonRaphson)
    torch.testing.assert_close(method.step(equation, z, equation(z)), expected)
    assert equation.nvjp == 1


def test_scalar_newton_takes_the_shortest_step_to_the_linearised_root() -> None:
    equation, _, _ = guided_problem()
    z = normal(*SHAPE, seed=9)
    leaf = z.clone().requires_grad_()
    value = l1(leaf - equation._g(leaf))
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    method = solver("scalar-newton")
    assert isinstance(method, NewtonRaphson)
    move = method.step(equation, z, equation(z)) - z
    torch.testing.assert_close((gradient * move).flatten(1).sum(1), -value.detach().flatten())
    torch.testing.assert_close(move / norm(move), -gradient / norm(gradient))


def test_the_released_code_takes_steps_by_sign_and_no_gradient() -> None:
    equation, _, _ = guided_problem()
    z = normal(*SHAPE, seed=9)
    gz = equation(z)
    image = equation.priors.image
    penalty = 0.5 * (gz - image.mean).square().flatten(1).sum(1) / image.variance
    length = ((z - gz).abs().flatten(1).sum(1) + 0.1 * penalty) / DIMENSION
    method = solver("gnri-released")
    assert isinstance(method, NewtonRaphson)
    torch.testing.assert_close(method.step(equation, z, gz), z + length.view(-1, 1, 1, 1) * (gz - z).sign())
    solution = solve(equation, z, method, max_iter=2)
    assert (solution.nfe, solution.nvjp) == (2, 0)


@pytest.mark.parametrize("name", ["gnri", "rnri", "gnri-released", "scalar-newton"])
def test_newton_raphson_returns_the_best_value_it_saw(name: str) -> None:
    equation, clean, _ = guided_problem()
    seen: list[tuple[Tensor, Tensor]] = []
    watched = StepEquation(lambda z: seen.append((z, gz := equation._g(z))) or gz, target=clean, priors=equation.priors)  # type: ignore[func-returns-value]
    n = 4
    solution = solve(watched, clean, solver(name), max_iter=n)
    evaluated = [pair for pair in seen if not pair[0].requires_grad]
    assert len(evaluated) == n
    residuals = torch.stack([l1(z - gz).flatten() for z, gz in evaluated])
    best = residuals.argmin(0)
    for k in range(SHAPE[0]):
        assert torch.equal(solution.z[k], evaluated[int(best[k])][1][k])
        assert solution.residual[k] == solution.residuals[best[k], k]
    assert solution.nvjp == (0 if name == "gnri-released" else n - 1)


def test_polish_goes_on_by_fixed_point() -> None:
    equation, clean, _ = guided_problem()
    searched = solve(equation, clean, Gnri(), max_iter=3)
    polished = solve(equation, clean, solver("gnri+polish:steps=2"), max_iter=5)
    assert torch.equal(polished.z, equation(equation(searched.z)))
    assert torch.equal(solve(equation, clean, solver("gnri+polish:steps=9"), max_iter=2).z, equation(equation(clean)))


def test_polish_adds_to_what_a_method_takes_by_definition() -> None:
    made = saturating(torch.float64)
    solution = solved("explicit+polish:steps=2", made, 9)
    assert torch.equal(solution.z, solved("fixed-point", made, 3).z)
    assert solution.nfe == 3


def test_the_best_so_far_is_the_answer() -> None:
    made = linear(torch.float64, torch.linspace(-1.2, 0.6, DIMENSION))
    plain, kept = solved("fixed-point", made, 8), solved("fixed-point+best-so-far", made, 8)
    assert torch.equal(plain.residuals, kept.residuals)
    assert (plain.residuals.argmin(0) < 7).all()  # it diverges
    assert torch.equal(kept.residual, kept.residuals.min(0).values)
    assert torch.equal(plain.residual, plain.residuals[-1])
    for k, best in enumerate(plain.residuals.argmin(0).tolist()):
        torch.testing.assert_close(kept.z[k], solved("fixed-point", made, best + 1).z[k])


def test_the_last_answer_costs_the_wrapped_solver_nothing() -> None:
    made = saturating(torch.float64)
    assert solved("newton-krylov:directions=3+best-so-far", made, 2).nfe == 5


def test_annealing_fades_the_prior() -> None:
    equation, clean, _ = guided_problem()
    points = [clean]
    for weight in (0.1, 0.02, 0.004):
        points.append(Gnri(weight=weight).step(equation, points[-1], equation(points[-1])))
    seen = list[Tensor]()
    watched = StepEquation(lambda z: seen.append(z) or equation._g(z), target=clean, priors=equation.priors)  # type: ignore[func-returns-value]
    solve(watched, clean, solver("gnri+anneal:rate=0.2"), max_iter=4)
    evaluated = [z for z in seen if not z.requires_grad]
    assert len(evaluated) == 4
    for z, expected in zip(evaluated, points, strict=True):
        torch.testing.assert_close(z, expected)


def test_wrappers_are_around_all_to_their_left() -> None:
    made = solver("gnri:eta=1e+0+anneal:rate=0.25+polish")
    assert made == Polish(Anneal(Gnri(eta=1.0), rate=0.25), steps=1)
    assert solver("explicit+polish:steps=2").max_iter == 3
    assert citation("gnri+anneal+polish") == citation("gnri")


def test_renoise_averages_the_last_values() -> None:
    made = saturating(torch.float64)
    points = [made.start]
    for _ in range(5):
        points.append(made.g(points[-1]))
    solution = solved("renoise:window=3", made, 5)
    torch.testing.assert_close(solution.z, torch.stack(points[-3:]).mean(0))


def test_averaged_is_half_of_the_last_two_values() -> None:
    made = saturating(torch.float64)
    values = [made.g(made.start)]
    z = values[0]
    for n in range(1, 5):
        torch.testing.assert_close(solved("averaged", made, n).z, z)
        values.append(made.g(z))
        z = (values[-1] + values[-2]) / 2


@pytest.mark.parametrize("damping", [0.3, 1.0, 1.5])
def test_a_damped_fixed_point_takes_a_share_of_each_step(damping: float) -> None:
    made = saturating(torch.float64)
    z = made.start
    for n in range(1, 4):
        z = (1 - damping) * z + damping * made.g(z)
        torch.testing.assert_close(solved(f"fixed-point:damping={damping}", made, n).z, z)


def test_gradient_diverges_if_its_step_is_too_long() -> None:
    """On eigenvalues from −1.6, A = 1 − ∂g goes up to 2.6: steps above 2/2.6² grow."""
    made = linear(torch.float64, torch.linspace(-1.6, 0.6, DIMENSION))
    assert solved("gradient:rate=0.5", made, 100, 1e-6).status == (Status.DIVERGED,) * SHAPE[0]
    assert solved("gradient:rate=0.28", made, 900, 1e-6).status == (Status.CONVERGED,) * SHAPE[0]


def test_gradient_descends_the_squared_residual() -> None:
    made = saturating(torch.float64)
    start = normal(*SHAPE, seed=5)
    z = made.g(start).requires_grad_()  # an explicit step comes first
    loss = 0.5 * (z - made.g(z)).square().sum()
    (gradient,) = torch.autograd.grad(loss, z)
    solution = solve(made.equation(), start, solver("gradient:rate=0.3"), max_iter=2)
    torch.testing.assert_close(solution.z, z.detach() - 0.3 * gradient)


def test_spd_is_torchs_adam_after_an_explicit_step() -> None:
    made = saturating(torch.float64)
    z = made.g(made.start).clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=0.01)
    for _ in range(4):
        adam.zero_grad()
        torch.autograd.backward((z - made.g(z)).square().flatten(1).mean(1).sum())
        adam.step()
    torch.testing.assert_close(solved("spd:rate=0.01", made, 5).z, z.detach())


def test_forward_step_is_the_authors_loop() -> None:
    """Explicit inversion of the step from its clean end, then steps along the error of sampling from there."""
    step, clean = gaussian_schedule()[0], normal(*SHAPE, seed=6)
    z = step.inverse_step(clean, gaussian_denoiser(clean, step.t))
    for count in range(1, 4):
        solution = solve(
            step.equation(gaussian_denoiser, clean), clean, solver("forward-step:rate=0.4"), max_iter=count
        )
        torch.testing.assert_close(solution.z, z)
        z = z - 0.4 * (step.denoise(gaussian_denoiser, z) - clean)
