"""ReNoise: what it averages where, the losses of its regularisation, and what that does to an inversion."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from rnri_core.inversion.budget import cost
from rnri_core.inversion.implicit import Implicit
from rnri_core.inversion.presets import inverter
from rnri_core.solvers import solver
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.renoise import Renoise
from rnri_core.solvers.solve import Status, solve
from rnri_core.solvers.step_equation import Gaussian, Priors, StepEquation
from rnri_core.solvers.white_noise import PATCH, Whitening, autocorrelation, patch_kl
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from rnri import invert, sample
from rnri.evaluation.solvers.convergence import correlation
from tests.problems import gaussian_denoiser, gaussian_schedule, normal, saturating
from tests.test_solvers import no_waiting

REGULARISED = "renoise:kl=0.065,correlation=20"
SHAPE = (2, 4, 16, 16)


def smooth(noise: Tensor) -> Tensor:
    """Correlated in rows and columns, of unit variance."""
    return 2 * torch.nn.functional.avg_pool2d(torch.nn.functional.pad(noise, (0, 1, 0, 1), mode="circular"), 2, 1)


def denoiser(z: Tensor, t: float) -> Tensor:
    return gaussian_denoiser(z, t).tanh() + 0.2 * gaussian_denoiser(z, t).roll(1, -1)


def test_patches_are_compared_as_gaussians() -> None:
    one, two = normal(3, 8, 12, seed=0), 0.7 * normal(3, 8, 12, seed=1) + 0.2
    expected = 0.0
    for row in range(0, 8, PATCH):
        for column in range(0, 12, PATCH):
            for channel in range(3):
                p, q = (x[channel, row : row + PATCH, column : column + PATCH] for x in (one, two))
                expected += 2 * kl_divergence(Normal(p.mean(), p.std()), Normal(q.mean(), q.std())).item()
    assert patch_kl(one, two).item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(patch_kl(one[:, :, :11], two[:, :, :11]), patch_kl(one[:, :, :8], two[:, :, :8]))


def test_white_noise_has_little_autocorrelation() -> None:
    white, correlated = normal(4, 16, 16, seed=2), smooth(normal(1, 4, 16, 16, seed=2))[0]
    losses = [sum(autocorrelation(x, random.Random(seed)) for seed in range(20)) for x in (white, correlated)]
    assert losses[0] < losses[1]
    ones = torch.ones(2, 16, 16)
    assert (
        autocorrelation(ones, random.Random(0)).item() == 2 * 2 * 2
    )  # channels, scales, directions: (mean of 1)² each


def test_whitening_descends_both_losses() -> None:
    reference, noise = normal(*SHAPE, seed=3), 1.5 * smooth(normal(*SHAPE, seed=4))
    shaped = Whitening(kl=0.065, correlation=0, rounds=20, rolls=1, seed=0)(noise, reference)
    assert all(patch_kl(x, r) < 0.7 * patch_kl(n, r) for x, n, r in zip(shaped, noise, reference, strict=True))
    whiter = Whitening(kl=0, correlation=20, rounds=8, rolls=5, seed=0)(noise, reference)
    assert all(abs(correlation(x)) < 0.8 * abs(correlation(n)) for x, n in zip(whiter, noise, strict=True))


def test_one_step_of_each_is_a_gradient_step() -> None:
    noise, reference = normal(1, 4, 8, 8, seed=5), normal(1, 4, 8, 8, seed=6)
    leaf = noise.clone().requires_grad_()
    (slope,) = torch.autograd.grad(patch_kl(leaf[0], reference[0]), leaf)
    moved = (noise - 0.065 * slope.clamp(-100, 100)).requires_grad_()
    dice, expected = random.Random(7), moved
    for _ in range(2):
        (slope,) = torch.autograd.grad(autocorrelation(expected[0], dice), expected)
        expected = (expected - 20 / 2 * slope).detach().requires_grad_()
    whitening = Whitening(kl=0.065, correlation=20, rounds=1, rolls=2, seed=7)
    torch.testing.assert_close(whitening(noise, reference), expected.detach())


def test_regularisation_is_off_by_default_and_priced_when_on() -> None:
    assert Renoise() == solver("renoise:kl=0,correlation=0")
    assert [cost(solver(f"renoise{with_}"), 5) for with_ in ("", ":correlation=20", ":kl=0.065")] == [5, 5, 6]


def test_only_the_window_is_regularised() -> None:
    step, clean = gaussian_schedule()[1], normal(*SHAPE, seed=8)
    seen = list[Tensor]()

    def watched(z: Tensor, t: float) -> Tensor:
        seen.append(z)
        return denoiser(z, t)

    equation = step.equation(watched, clean, clean)
    solution = solve(equation, clean, solver(f"{REGULARISED},window=2,seed=3"), max_iter=4)
    plain = solve(step.equation(denoiser, clean), clean, solver("fixed-point"), max_iter=2)
    assert solution.nfe == len(seen) == 5  # four iterations, and the noised picture
    torch.testing.assert_close(seen[2], plain.z)
    path, whole = equation.priors.path, equation.priors.image
    noise = torch.randn(SHAPE[1:], generator=torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(seen[3], whole.mean + whole.variance**0.5 * noise)
    g = step.equation(denoiser, clean)
    whitening = Whitening(0.065, 20.0, 4, 5, 3)

    def whiter(point: Tensor) -> Tensor:
        noise, reference = ((each - path.mean) / path.deviation for each in (point, g(seen[3])))
        return path.mean + path.deviation * whitening(noise, reference)

    torch.testing.assert_close(seen[4], whiter(g(seen[2])))
    torch.testing.assert_close(solution.z, whiter((g(seen[2]) + g(seen[4])) / 2))


@pytest.mark.parametrize(
    ("t", "spec", "calls", "averaged"),
    [
        (249, "", 6, slice(0, 5)),
        (250, "", 10, slice(8, 10)),
        (249, "", 2, slice(0, 2)),
        (None, "", 10, slice(8, 10)),
        (249, ":band=0", 10, slice(8, 10)),
        (499, ":band=500", 6, slice(0, 5)),
        (100, ":window=1,near=2", 6, slice(0, 2)),
    ],
)
def test_the_values_are_averaged_that_the_authors_average(
    t: float | None, spec: str, calls: int, averaged: slice
) -> None:
    """``average_step_range`` (8, 10) of 10 calls, and ``average_first_step_range`` (0, 5) of 6, in their RunConfig."""
    made = saturating(torch.float64)
    points = [made.start]
    for _ in range(calls):
        points.append(made.g(points[-1]))
    flat = Gaussian(made.start, 0.0, 1.0)
    equation = Equation(made.g) if t is None else StepEquation(made.g, priors=Priors(t, flat, flat, flat))
    solution = solve(equation, made.start, solver(f"renoise{spec}"), max_iter=calls)
    torch.testing.assert_close(solution.z, torch.stack(points[1:][averaged]).mean(0))


def test_without_a_budget_a_step_takes_the_authors_calls() -> None:
    """Of the steps at 999, 749, 499 and 249, the last lies below the timestep at which their code takes fewer."""
    schedule, clean = gaussian_schedule(), normal(*SHAPE, seed=13)
    inversion = invert(gaussian_denoiser, schedule, clean, "renoise")
    made = inverter("renoise+best-so-far", schedule)
    assert isinstance(made, Implicit)
    assert made.iterations == [6, 10, 10, 10]
    assert [solution.nfe for solution in inversion.solutions] == [10, 10, 10, 6]
    values = [clean]
    for _ in range(5):
        values.append(schedule[-1].inverse_step(clean, schedule[-1].model_output(gaussian_denoiser, values[-1])))
    torch.testing.assert_close(inversion.latents[-2], torch.stack(values[1:]).mean(0))


def test_all_of_the_band_is_regularised() -> None:
    """Next to the image values are averaged from the first on, so all are made whiter before the network sees them."""
    step, clean = gaussian_schedule()[-1], normal(*SHAPE, seed=14)
    seen = list[Tensor]()

    def watched(z: Tensor, t: float) -> Tensor:
        seen.append(z)
        return denoiser(z, t)

    equation = step.equation(watched, clean, clean)
    solve(equation, clean, solver("renoise:correlation=20"), max_iter=3)
    path = equation.priors.path
    whitening, deviation = Whitening(0.0, 20.0, 4, 5, 0), path.variance**0.5
    for z, following in pairwise(seen):
        noise = (step.inverse_step(clean, denoiser(z, step.t)) - path.mean) / deviation
        torch.testing.assert_close(following, path.mean + deviation * whitening(noise, noise))


def test_a_batch_equals_one_by_one() -> None:
    schedule, clean = gaussian_schedule(), normal(*SHAPE, seed=9, dtype=torch.float32)
    together = invert(denoiser, schedule, clean, solver(REGULARISED), iterations=3)
    for k in range(len(clean)):
        alone = invert(denoiser, schedule, clean[k : k + 1], solver(REGULARISED), iterations=3)
        assert torch.equal(together.noise[k : k + 1], alone.noise)


def test_regularising_never_waits_for_the_device() -> None:
    step, clean = gaussian_schedule()[1], normal(*SHAPE, seed=12, dtype=torch.float32)
    with no_waiting():
        solution = solve(step.equation(denoiser, clean, clean), clean, solver(REGULARISED), max_iter=3)
    assert solution.status == (Status.FIXED_BUDGET,) * len(clean)


def test_noise_correction_and_residual_correction_are_one() -> None:
    """What a step misses may be added to its frozen noise, or after it."""
    clean = normal(*SHAPE, seed=11)
    inversion = invert(denoiser, gaussian_schedule(), clean, solver("renoise"), iterations=2, noise_maps=True)
    assert inversion.noise_maps is not None
    noisy = tuple(replace(step, c=delta) for step, delta in zip(inversion.schedule, inversion.noise_maps, strict=True))
    torch.testing.assert_close(sample(denoiser, noisy, inversion.noise), clean)
