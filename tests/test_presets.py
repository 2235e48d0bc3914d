"""What a preset stands for on a schedule, and that what is asked for wins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rnri_core.inversion.edit_friendly import edit_friendly
from rnri_core.inversion.presets import PATIENCE, Plan, plan
from rnri_core.sampling.steps import Schedule, ddim, flow
from torch import Tensor

from rnri import PRESETS, Status, allot, invert, sample, solver
from tests.problems import ALPHAS_CUMPROD, BARS, gaussian_denoiser, normal


def steps(count: int) -> Schedule:
    return ddim(ALPHAS_CUMPROD, [999 - 1000 * k // count for k in range(count)])


@pytest.mark.parametrize("count", [1, 4, 20, 50])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_costs_what_it_says(name: str, count: int) -> None:
    preset, schedule = PRESETS[name], steps(count)
    found = plan(name, schedule).invert(gaussian_denoiser, schedule, normal(1, 3, 4, 4, seed=0))
    assert found.drawn == (preset.drawn is not None and count >= preset.drawn)
    assert found.calls == (count if found.drawn else count * (1 + preset.correct) + preset.extra)
    assert (found.noise_maps is not None) == preset.correct


@pytest.mark.parametrize(
    "asked", [{"budget": 2}, {"tol": 1e-3}, {"start": "clean"}, {"predictor": False}, {"correct": False}]
)
def test_a_preset_that_draws_solves_where_it_is_told_how(asked: dict[str, Any]) -> None:
    schedule, image = steps(20), normal(1, 3, 4, 4, seed=0)
    found = plan("auto", schedule, **asked).invert(gaussian_denoiser, schedule, image, tol=asked.get("tol"))
    assert not found.drawn
    assert found.calls > len(schedule) - 1


def test_draws_are_those_of_edit_friendly_inversion_and_cost_a_call_a_step() -> None:
    schedule, image = steps(20), normal(2, 3, 4, 4, seed=0)
    for asked in ({}, {"calls": 60}, {"correct": True}):
        found = plan("auto", schedule, **asked).invert(gaussian_denoiser, schedule, image, seed=3)
        assert torch.equal(found.noise, edit_friendly(gaussian_denoiser, schedule, image, seed=3).noise)
        again = sample(gaussian_denoiser, found.schedule, found.noise, noise_maps=found.noise_maps)
        torch.testing.assert_close(again, image)
    with pytest.raises(ValueError, match="19 calls are not one for each of 20 steps"):
        plan("auto", schedule, calls=19)


@pytest.mark.parametrize("name", PRESETS)
def test_most_calls_go_next_to_the_image(name: str) -> None:
    budget = plan(name, steps(20), predictor=True).budget
    assert isinstance(budget, list)
    assert budget[0] == max(budget)
    assert (budget[0] > 1) == (PRESETS[name].extra > 0)


def test_calls_may_be_given_and_include_corrections() -> None:
    schedule = steps(4)
    made = plan("auto", schedule, calls=16)
    assert isinstance(made.budget, list)
    assert sum(made.budget) == 12
    assert plan("auto", schedule, calls=16, correct=False).budget == allot(schedule, 16)
    with pytest.raises(ValueError, match="3 calls do not buy"):
        plan("auto", schedule, calls=7)


@pytest.mark.parametrize("name", ["auto", "faithful", "anderson"])
def test_a_tolerance_gets_the_iterations_it_takes(name: str) -> None:
    schedule, image = steps(4), normal(1, 3, 4, 4, seed=0)
    found = plan(name, schedule, tol=1e-6).invert(gaussian_denoiser, schedule, image, tol=1e-6)
    assert all(solution.status == (Status.CONVERGED,) for solution in found.solutions)
    assert all(solution.nfe < PATIENCE for solution in found.solutions)
    assert plan(name, schedule, tol=1e-6, budget=2).budget == 2


def test_what_is_given_wins() -> None:
    made = plan("auto", steps(4), budget=(3, 1), start="clean", predictor=False, correct=False)
    assert made == Plan(solver(PRESETS["auto"].solver), (3, 1), "clean", predictor=False, correct=False)


def test_a_solver_alone_is_used_as_published() -> None:
    schedule = flow([1.0, 0.5, 0.0], [1000, 500])
    assert plan("gnri:eta=1", schedule) == Plan(solver("gnri:eta=1"), 2, "clean", predictor=False, correct=False)
    assert plan(solver("explicit"), schedule, correct=True).correct
    with pytest.raises(ValueError, match="calls=8 are for auto, faithful"):
        plan("gnri", schedule, calls=8)
    with pytest.raises(
        ValueError, match=r"no solver is called 'best'; there are explicit, .*; presets are auto, faithful"
    ):
        plan("best", schedule)


def test_faithful_is_nearer_and_corrections_make_all_exact() -> None:
    """On the exact denoiser of data whose elements have unlike variances, so that the spectra are wide."""
    schedule, image = steps(4), normal(1, 3, 8, 8, seed=1)
    variances = torch.logspace(-3, 0, image[0].numel(), dtype=image.dtype).view(image.shape)

    def m(z: Tensor, t: float) -> Tensor:
        bar = BARS[int(t)]
        return (1 - bar) ** 0.5 / (bar * variances + 1 - bar) * z

    residuals = {}
    for name, preset in PRESETS.items():
        made = plan(name, schedule)
        found = invert(
            m,
            schedule,
            image * variances.sqrt(),
            made.solver,
            budget=made.budget,
            start=made.start,
            predictor=made.predictor,
            correct=made.correct,
        )
        residuals[name] = schedule[-1].residual(m, found.latents[-2], found.clean).item()
        if preset.correct:
            again = sample(m, schedule, found.noise, noise_maps=found.noise_maps)
            torch.testing.assert_close(again, found.clean)
    assert residuals["faithful"] < residuals["auto"]
