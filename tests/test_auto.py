"""The default on the embedded model: at equal calls, edits no worse than with any fixed choice."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, median

import pytest

from rnri import models
from rnri.bench.convergence import Configuration, Convergence, Measurement, grid

PICTURES = list(range(8))
MODEL = "scenes-turbo"


@pytest.fixture(scope="module")
def bench() -> Convergence:
    return Convergence({MODEL: models.load(MODEL, device="cpu")}, len(PICTURES))


@pytest.fixture(scope="module")
def auto(bench: Convergence) -> list[Measurement]:
    return measured(bench, "auto", "informed")


def measured(bench: Convergence, solver: str, way: str, *, correct: bool = False) -> list[Measurement]:
    """At 8 calls for 4 steps, or at the 4 that edit-friendly takes."""
    made = grid(bench.models, steps=[4], budgets=[2], solvers=[solver], ways=[way], correct=correct)
    return bench(only(made), PICTURES)


def only(made: list[Configuration]) -> Configuration:
    [one] = made
    return replace(one, split="tuning")


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


def test_reconstruction_is_within_a_twentieth_of_a_decibel_of_the_autoencoder(auto: list[Measurement]) -> None:
    assert {each.cost.calls for each in auto} == {8}
    assert min(each.psnr_db - each.bound_db for each in auto) > -0.05


def test_a_solver_alone_comes_twice_as_near_as_the_published(bench: Convergence) -> None:
    ours = median(each.latent_rmse for each in measured(bench, "barzilai-borwein", "informed"))
    for name in ("gnri", "gnri-released", "anderson"):
        assert 2 * ours < median(each.latent_rmse for each in measured(bench, name, "published"))
