"""Methods that learn the Jacobian or ask for it, against dense algebra: Anderson, Broyden, Newton–Krylov."""

from __future__ import annotations

import math

import pytest
import torch
from rnri_core.solvers import solver
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.solve import Status, solve
from torch import Tensor

from tests.problems import DIMENSION, SHAPE, saturating, solved

FREE = "ridge=1e-14,growth=1e6"


def path(spec: str, iterations: int) -> list[Tensor]:
    """The points a solver visits, each (B, D)."""
    made = saturating(torch.float64)
    return [made.start.flatten(1)] + [solved(spec, made, n).z.flatten(1) for n in range(1, iterations + 1)]


def missing(points: list[Tensor], image: int) -> list[Tensor]:
    """f = g(z) − z at the points of one image, each (D,)."""
    made = saturating(torch.float64)
    return [(made.g(z.view(SHAPE)) - z.view(SHAPE)).flatten(1)[image] for z in points]


@pytest.mark.parametrize(("memory", "mixing"), [(2, 1.0), (2, 0.6), (3, 1.4), (50, 0.6)])
def test_anderson_mixes_the_combination_with_the_least_residual(memory: int, mixing: float) -> None:
    """z_{k+1} = Σ α_j (z_j + β f_j) over the last m + 1 points, α of sum 1 such that ‖Σ α_j f_j‖ is least."""
    points = path(f"anderson:memory={memory},mixing={mixing},{FREE}", 6)
    for image in range(SHAPE[0]):
        z, f = [each[image] for each in points], missing(points, image)
        for k in range(6):
            first = max(0, k - memory)
            spread = torch.stack([f[j] - f[k] for j in range(first, k + 1)])
            weights = torch.linalg.pinv(spread[:-1].T) @ -f[k] if k > first else torch.zeros(0).double()
            weights = torch.cat([weights, 1 - weights.sum(0, keepdim=True)])
            expected = sum(w * (z[j] + mixing * f[j]) for w, j in zip(weights, range(first, k + 1), strict=True))
            torch.testing.assert_close(z[k + 1], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("memory", [2, 3, 20])
def test_broyden_is_the_good_update_and_starts_over_when_its_memory_is_full(memory: int) -> None:
    """H ← H + (s − H y) sᵀH/(s·H y), from H = I again once ``memory`` updates were made."""
    points = path(f"broyden:memory={memory},growth=1e6", 8)
    for image in range(SHAPE[0]):
        z, r = [each[image] for each in points], [-f for f in missing(points, image)]
        inverse, updates = torch.eye(DIMENSION, dtype=torch.float64), 0
        for k in range(8):
            if updates == memory:
                inverse, updates = torch.eye(DIMENSION, dtype=torch.float64), 0
            if k:
                s, y = z[k] - z[k - 1], r[k] - r[k - 1]
                inverse = inverse + torch.outer(s - inverse @ y, s @ inverse) / (s @ inverse @ y)
                updates += 1
            torch.testing.assert_close(z[k + 1], z[k] - inverse @ r[k], rtol=1e-6, atol=1e-10)


def test_newtons_step_is_halved_until_the_residual_has_not_grown() -> None:
    """Newton's method on arctan z = 0 flies off from |z| > 1.39."""
    equation, start = Equation(lambda z: z - z.atan()), torch.full((1, 1), 10.0, dtype=torch.float64)
    newton = solver("newton-krylov:products=exact,directions=1")
    points = [10.0] + [solve(equation, start, newton, max_iter=n).z.item() for n in range(1, 7)]
    assert points[1] == pytest.approx(10 - 101 * math.atan(10))
    k = 1
    while abs(points[k]) > 10:
        assert points[k + 1] == pytest.approx((10 + points[k]) / 2)
        k += 1
    assert k > 2
    assert points[k + 1] == pytest.approx(points[k] - (1 + points[k] ** 2) * math.atan(points[k]))
    solution = solve(equation, start, newton, max_iter=60, tol=1e-12)
    assert solution.status == (Status.CONVERGED,)
    assert abs(solution.z.item()) < 1e-9


@pytest.mark.parametrize("forcing", [0.0, 0.5])
@pytest.mark.parametrize("products", ["difference", "exact"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_newton_stays_at_a_root(products: str, forcing: float, dtype: torch.dtype) -> None:
    """There every direction is zero, and so is every ratio of residuals' denominator."""
    for g in (torch.tanh, torch.clone, lambda z: 0.5 * z):
        equation, root = Equation(g), torch.zeros(2, 3, dtype=dtype)
        solution = solve(equation, root, solver(f"newton-krylov:products={products},forcing={forcing}"), max_iter=4)
        assert torch.equal(solution.z, root)
        assert solution.status == (Status.FIXED_BUDGET,) * 2
        assert torch.equal(solution.residual, torch.zeros(2, dtype=dtype))
