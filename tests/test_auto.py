"""The default on the embedded models: at equal or fewer calls, edits no worse than with any fixed choice."""

from __future__ import annotations

from statistics import fmean, median

import pytest

from rnri import models
from rnri.bench.convergence import Convergence, Measurement, grid

PICTURES = list(range(8))
FEW, MANY = ("scenes-turbo", 4), ("scenes", 20)


@pytest.fixture(scope="module")
def bench() -> Convergence:
    return Convergence({name: models.load(name, device="cpu") for name, _ in (FEW, MANY)}, len(PICTURES))


@pytest.fixture(scope="module")
def auto(bench: Convergence) -> list[Measurement]:
    return measured(bench, "auto", "informed")


@pytest.fixture(scope="module")
def drawn(bench: Convergence) -> list[Measurement]:
    return measured(bench, "auto", "informed", of=MANY)


def measured(
    bench: Convergence, solver: str, way: str, *, correct: bool = False, of: tuple[str, int] = FEW
) -> list[Measurement]:
    """At two calls a step, or what an inverter takes that solves nothing."""
    name, steps = of
    only = {name: bench.models[name]}
    [one] = grid(only, steps=[steps], budgets=[2], solvers=[solver], ways=[way], correct=correct, split="tuning")
    return bench(one, PICTURES)


@pytest.mark.parametrize(
    ("solver", "way", "correct"),
    [
        ("explicit", "published", True),
        ("anderson", "published", False),
        ("anderson", "informed", False),
        ("chebyshev", "informed", False),
        ("barzilai-borwein", "informed", False),
    ],
)
def test_edits_are_no_worse_than_with_a_fixed_choice(
    bench: Convergence, auto: list[Measurement], solver: str, way: str, correct: bool
) -> None:
    fixed = measured(bench, solver, way, correct=correct)
    assert fmean(each.edit_rmse for each in auto) < 1.03 * fmean(each.edit_rmse for each in fixed)


@pytest.mark.parametrize("inverter", ["edit-friendly", "edict", "bdia"])
def test_edits_are_no_worse_than_by_what_solves_nothing(
    bench: Convergence, auto: list[Measurement], inverter: str
) -> None:
    exact = measured(bench, inverter, "published")
    assert fmean(each.edit_rmse for each in auto) < 1.03 * fmean(each.edit_rmse for each in exact)


@pytest.mark.parametrize("solver", ["edit-friendly", "edict", "bdia", "fixed-point", "anderson"])
def test_edits_of_many_steps_are_nearer_than_the_published_for_half_their_calls(
    bench: Convergence, drawn: list[Measurement], solver: str
) -> None:
    assert {each.cost.calls for each in drawn} == {20}
    published = measured(bench, solver, "published", of=MANY)
    assert fmean(each.edit_rmse for each in drawn) < fmean(each.edit_rmse for each in published)
    assert min(each.psnr_db - each.bound_db for each in drawn) > -0.05


def test_reconstruction_is_within_a_twentieth_of_a_decibel_of_the_autoencoder(auto: list[Measurement]) -> None:
    assert {each.cost.calls for each in auto} == {8}
    assert min(each.psnr_db - each.bound_db for each in auto) > -0.05


def test_a_solver_alone_comes_twice_as_near_as_the_published(bench: Convergence) -> None:
    ours = median(each.latent_rmse for each in measured(bench, "barzilai-borwein", "informed"))
    for name in ("gnri", "gnri-released", "anderson"):
        assert 2 * ours < median(each.latent_rmse for each in measured(bench, name, "published"))
