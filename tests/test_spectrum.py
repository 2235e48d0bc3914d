"""What the schedule knows of eigenvalues, by exact denoisers of Gaussian data, and what Chebyshev makes of it."""

from __future__ import annotations

import math

import pytest
import torch
from rnri_core.inversion.budget import Spread, allot
from rnri_core.inversion.inversion import sample
from rnri_core.inversion.presets import invert
from rnri_core.sampling.schedules import ddim, flow
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers import solver
from rnri_core.solvers.equation import norm
from torch import Tensor

from tests.problems import ALPHAS_CUMPROD, normal
from tests.test_schedule import SHAPE, TABLES, perfect

DIMENSION = 64
VARIANCES = torch.cat([torch.zeros(1), torch.logspace(-3, 3, math.prod(SHAPE) - 1)]).double().view(SHAPE)
ONE = torch.ones(1, *SHAPE, dtype=torch.float64)

SCHEDULES: dict[str, Schedule] = {
    "from 1": flow([1.0, 0.75, 0.5, 0.25, 0.0], [1000, 750, 500, 250]),
    "from 0.95": flow([0.95, 0.75, 0.5, 0.25, 0.0], [950, 750, 500, 250]),
    "shifted": flow([1.0, 0.9, 0.75, 0.5, 0.0], [1000, 900, 750, 500]),
    "eight steps": flow([1 - k / 8 for k in range(9)], [1000 - 125 * k for k in range(8)]),
}


def gaussian(schedule: Schedule, prediction: str, variance: Tensor) -> Denoiser:
    """The ideal network for data N(0, variance), one variance per element: x̂ = α v/(α² v + σ²)·z."""
    steps = {step.t: step for step in schedule}

    def m(scaled: Tensor, t: float) -> Tensor:
        step = steps[t]
        alpha, sigma, _, _ = step.levels
        z = scaled / step.scale
        image = alpha * variance / (alpha**2 * variance + sigma**2) * z
        return perfect(step, prediction, image, (z - alpha * image) / sigma)(scaled, t)

    return m


def falling(power: float) -> Tensor:
    """Variances that fall like those of pictures over frequencies, and are 1 in the mean."""
    made = torch.arange(1, DIMENSION + 1, dtype=torch.float64) ** -power
    return made / made.mean()


@pytest.mark.parametrize("name", TABLES)
def test_the_bounds_enclose_an_ideal_networks_eigenvalues(name: str) -> None:
    schedule, prediction = TABLES[name]
    m = gaussian(schedule, prediction, VARIANCES)
    for step in schedule:
        slopes = step.denoise(m, ONE) - step.denoise(m, 0 * ONE)
        low, high = step.spectrum()
        room = 1e-9 * max(1.0, abs(step.a))
        assert low - room <= slopes.min()
        assert slopes.max() <= high + room
        equation = step.equation(m, ONE)
        eigenvalues = equation(ONE) - equation(0 * ONE)
        low, high = equation.bounds
        room /= abs(step.a)
        assert low - room <= eigenvalues.min()
        assert eigenvalues.max() <= high + room
        assert low <= high


@pytest.mark.parametrize("name", TABLES)
def test_both_bounds_are_reached(name: str) -> None:
    """Data that do not vary have one, data that vary without end the other, where some signal is left."""
    schedule, prediction = TABLES[name]
    for step in schedule:
        if step.levels[0]:
            reached = []
            for variance in (1e16, 0.0):
                equation = step.equation(gaussian(schedule, prediction, torch.full(SHAPE, variance).double()), ONE)
                reached.append(float((equation(ONE) - equation(0 * ONE)).mean()))
            assert reached == pytest.approx(equation.bounds, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_the_eigenvalue_is_zero_where_the_network_says_the_same_everywhere(name: str) -> None:
    """For data of variance 1 where it states the velocity, σ/α where a flow, without end the noise, 0 the image."""
    schedule, prediction = TABLES[name]
    for step in schedule:
        alpha, sigma, _, _ = step.levels
        if alpha:
            resting = {"epsilon": 1e16, "v_prediction": 1.0, "flow": sigma / alpha, "sample": 0.0}[prediction]
            m = gaussian(schedule, prediction, torch.full(SHAPE, resting).double())
            equation = step.equation(m, ONE)
            assert (equation(ONE) - equation(0 * ONE)).abs().max() < 1e-6


def test_without_signal_there_is_one_eigenvalue() -> None:
    """At α = 0 the upper bound α′/α is infinite, but the ideal x̂ is the data's mean whatever z is."""
    schedule, prediction = TABLES["flow"]
    step = schedule[0]
    assert step.levels[0] == 0
    assert step.spectrum() == (step.levels[3], math.inf)
    slopes = step.denoise(gaussian(schedule, prediction, VARIANCES), ONE)
    torch.testing.assert_close(slopes, step.levels[3] * ONE)


@pytest.mark.parametrize("name", TABLES)
def test_the_smallest_eigenvalue_expected_depends_on_what_the_network_states(name: str) -> None:
    """Below 0 are none where it states the noise, and only data of more than unit variance where the velocity."""
    schedule, prediction = TABLES[name]
    m = gaussian(schedule, prediction, torch.linspace(0, 1, math.prod(SHAPE)).double().view(SHAPE))
    for step in schedule:
        equation = step.equation(m, ONE)
        smallest = (equation(ONE) - equation(0 * ONE)).min()
        assert equation.lowest == (0.0 if prediction in ("epsilon", "v_prediction") else -1.0)
        if name in ("ddim epsilon", "euler epsilon", "ddim v_prediction"):
            assert smallest >= -1e-9
    if name == "flow":
        assert smallest < -0.1  # next to the image


def test_a_flows_difficulty_is_the_ratio_of_its_bounds() -> None:
    """1 − ∂g is ∂z_clean/∂z over a, so what a polynomial can promise does not depend on what the network states."""
    times = [999, 749, 499, 249]
    for made in (ddim(ALPHAS_CUMPROD, times, p, final_alpha=0.999) for p in ("epsilon", "v_prediction", "sample")):
        for step in made:
            low, high = step.equation(lambda z, t: z, torch.ones(1, 1)).bounds
            smallest, largest = step.spectrum()
            assert (1 - high) / (1 - low) == pytest.approx(smallest / largest)


def errors(name: str, schedule: Schedule, calls: int, spread: Spread) -> Tensor:
    """Relative errors after sampling back, (1, kinds of data)."""
    found = []
    for variance in (falling(0.5), falling(1.0), falling(1.5), falling(2.0), 0.25 * torch.ones(DIMENSION).double()):
        m = gaussian(schedule, "flow", variance)
        image = variance.sqrt() * normal(1, DIMENSION, seed=0)
        plan, init = allot(schedule, calls, spread=spread), "clean" if spread == "even" else "predicted"
        noise = invert(m, schedule, image, solver(name), iterations=plan, init=init).noise
        found.append((norm(sample(m, schedule, noise) - image) / norm(image)).flatten())
    return torch.stack(found).T


@pytest.mark.parametrize(("spread", "each"), [("even", 3), ("even", 5), ("spectrum", 8)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_chebyshev_beats_fixed_point_on_flows_at_equal_calls(name: str, spread: Spread, each: int) -> None:
    schedule = SCHEDULES[name]
    calls = each * len(schedule)
    accelerated, plain = (errors(solver, schedule, calls, spread) for solver in ("chebyshev", "fixed-point"))
    assert norm(accelerated) < (0.2 if spread == "even" and len(schedule) == 4 else 1) * norm(plain)


def test_a_single_iteration_of_chebyshev_is_a_fixed_point_step() -> None:
    schedule = SCHEDULES["from 1"]
    m, image = gaussian(schedule, "flow", falling(1.0)), normal(1, DIMENSION, seed=1)
    accelerated, plain = (
        invert(m, schedule, image, solver(name), iterations=1) for name in ("chebyshev", "fixed-point")
    )
    torch.testing.assert_close(accelerated.noise, plain.noise)
