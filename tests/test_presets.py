"""Presets on a schedule, and options that override them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.budget import allot
from rnri_core.inversion.coupled import Bdia, Edict
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.inversion.implicit import Implicit
from rnri_core.inversion.presets import PRESETS, TOL_ITERATIONS, inverter, spec
from rnri_core.sampling.schedules import ddim, flow
from rnri_core.sampling.steps import Schedule
from rnri_core.solvers import solver
from torch import Tensor

from rnri import Status, invert, sample
from tests.problems import ALPHAS_CUMPROD, BARS, gaussian_denoiser, normal


def steps(count: int) -> Schedule:
    return ddim(ALPHAS_CUMPROD, [999 - 1000 * k // count for k in range(count)])


def implicit(how: Any, schedule: Schedule, **options: Any) -> Implicit:
    made = inverter(how, schedule, **options)
    assert isinstance(made, Implicit)
    return made


@pytest.mark.parametrize("count", [1, 4, 20, 50])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_costs_what_it_says(name: str, count: int) -> None:
    preset, schedule = PRESETS[name], steps(count)
    inversion = invert(gaussian_denoiser, schedule, normal(1, 3, 4, 4, seed=0), name)
    assert inversion.solved == (preset.edit_friendly_from is None or count < preset.edit_friendly_from)
    assert inversion.calls == (count * (1 + preset.noise_maps) + preset.extra if inversion.solved else count)
    assert (inversion.noise_maps is not None) == preset.noise_maps


@pytest.mark.parametrize(
    "options",
    [{"iterations": 2}, {"tol": 1e-3}, {"init": "clean"}, {"init": "noised-predicted"}, {"noise_maps": False}],
)
def test_a_preset_that_is_edit_friendly_solves_where_options_of_solving_are_set(options: dict[str, Any]) -> None:
    schedule, image = steps(20), normal(1, 3, 4, 4, seed=0)
    inversion = invert(gaussian_denoiser, schedule, image, "auto", **options)
    assert inversion.solved
    assert inversion.calls > len(schedule) - 1


def test_the_default_of_many_steps_is_edit_friendly_inversion_and_cost_a_call_a_step() -> None:
    schedule, image = steps(20), normal(2, 3, 4, 4, seed=0)
    for options in ({}, {"calls": 60}, {"noise_maps": True}):
        inversion = invert(gaussian_denoiser, schedule, image, "auto", seed=3, **options)
        assert not inversion.solved
        assert inversion.calls == len(schedule)
        assert torch.equal(inversion.noise, EditFriendly().invert(gaussian_denoiser, schedule, image, seed=3).noise)
        again = sample(gaussian_denoiser, inversion.schedule, inversion.noise, noise_maps=inversion.noise_maps)
        torch.testing.assert_close(again, image)
    with pytest.raises(ValueError, match="calls=19 are not one for each of 20 steps"):
        inverter("auto", schedule, calls=19)


@pytest.mark.parametrize("name", PRESETS)
def test_most_calls_go_next_to_the_image(name: str) -> None:
    made = implicit(name, steps(20), init="predicted")
    plan = made.plan(20)
    assert made.iterations == plan
    assert plan[0] == max(plan)
    assert (plan[0] > 1) == (PRESETS[name].extra > 0)


def test_calls_may_be_given_and_include_noise_maps() -> None:
    schedule = steps(4)
    made = implicit("auto", schedule, calls=16)
    assert made.iterations == made.plan(4)
    assert sum(made.plan(4)) == 12
    assert implicit("auto", schedule, calls=16, noise_maps=False).iterations == allot(schedule, 16)
    with pytest.raises(ValueError, match="calls=7 are fewer than the 8"):
        inverter("auto", schedule, calls=7)


@pytest.mark.parametrize("name", ["auto", "faithful", "anderson"])
def test_a_tolerance_gets_the_iterations_it_takes(name: str) -> None:
    schedule, image = steps(4), normal(1, 3, 4, 4, seed=0)
    inversion = invert(gaussian_denoiser, schedule, image, name, tol=1e-6)
    assert all(solution.status == (Status.CONVERGED,) for solution in inversion.solutions)
    assert all(solution.nfe < TOL_ITERATIONS for solution in inversion.solutions)
    assert implicit(name, schedule, tol=1e-6, iterations=2).iterations == 2


def test_options_override_a_preset() -> None:
    made = inverter("auto", steps(4), iterations=(3, 1), init="clean", noise_maps=False, tol=0.1)
    assert made == Implicit(solver(PRESETS["auto"].solver), (3, 1), 0.1, "clean", noise_maps=False)


def test_a_solver_alone_is_used_as_published() -> None:
    schedule = flow([1.0, 0.5, 0.0], [1000, 500])
    assert inverter("gnri:eta=1", schedule) == Implicit(solver("gnri:eta=1"), 2, None, "clean", noise_maps=False)
    assert implicit(solver("explicit"), schedule, noise_maps=True).noise_maps
    with pytest.raises(RnriError, match="calls=8 are for auto, faithful: give 'gnri' iterations instead") as error:
        inverter("gnri", schedule, calls=8)
    assert error.value.field == "calls"
    with pytest.raises(
        RnriError,
        match=r"no solver is called 'best'; there are explicit, .*; presets are auto, faithful; "
        "inverters without a solver edit-friendly, edict, bdia",
    ) as error:
        inverter("best", schedule)
    assert error.value.field == "inverter"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("edit-friendly", EditFriendly()),
        ("edit-friendly:shift=1", EditFriendly(1)),
        ("edict:mixing=0.9", Edict(0.9)),
        ("bdia", Bdia()),
    ],
)
def test_inverters_without_a_solver_take_no_options_of_solvers(text: str, made: Any) -> None:
    assert inverter(text, steps(4)) == made == inverter(made, steps(4))
    assert spec(made) == text
    for name, value in {"calls": 9, "iterations": 2, "tol": 0.1, "init": "clean", "noise_maps": True}.items():
        with pytest.raises(RnriError, match=f"{name}={value!r} is for solvers, not for .*: leave it out") as error:
            inverter(text, steps(4), **{name: value})  # type: ignore[arg-type]
        assert error.value.field == name


@pytest.mark.parametrize("text", ["gnri", "anderson:memory=2", "gnri:eta=1+polish", "renoise:kl=0.065,correlation=20"])
def test_the_spec_of_what_a_spec_makes_is_that_spec(text: str) -> None:
    assert spec(inverter(text, steps(4))) == spec(solver(text)) == text


def test_faithful_is_nearer_and_noise_maps_make_all_exact() -> None:
    """On the exact denoiser of data whose elements have unlike variances, so that the spectra are wide."""
    schedule, image = steps(4), normal(1, 3, 8, 8, seed=1)
    variances = torch.logspace(-3, 0, image[0].numel(), dtype=image.dtype).view(image.shape)

    def m(z: Tensor, t: float) -> Tensor:
        bar = BARS[int(t)]
        output: Tensor = (1 - bar) ** 0.5 / (bar * variances + 1 - bar) * z
        return output

    residuals = {}
    for name, preset in PRESETS.items():
        inversion = invert(m, schedule, image * variances.sqrt(), name)
        assert inversion.solved
        residuals[name] = schedule[-1].residual(m, inversion.latents[-2], inversion.clean).item()
        if preset.noise_maps:
            again = sample(m, schedule, inversion.noise, noise_maps=inversion.noise_maps)
            torch.testing.assert_close(again, inversion.clean)
    assert residuals["faithful"] < residuals["auto"]


def test_calls_and_iterations_exclude_each_other() -> None:
    with pytest.raises(RnriError, match="calls and iterations exclude each other") as caught:
        inverter("faithful", steps(4), calls=40, iterations=2)
    assert caught.value.field == "calls"


def test_too_few_calls_are_named_with_the_least() -> None:
    with pytest.raises(RnriError, match="calls=1 are fewer than the 8 of one iteration for each of 4 steps") as caught:
        inverter("auto", steps(4), calls=1)
    assert caught.value.field == "calls"
