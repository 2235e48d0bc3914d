"""Inversion when something is not as it should be: nothing blows up, and every status is true."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from rnri_core.solvers.solve import Status

from rnri import models
from rnri.evaluation.solvers.convergence import Convergence
from rnri.evaluation.solvers.sensitivity import (
    CONDITIONS,
    PHOTOS,
    Condition,
    Reaction,
    Sensitivity,
    SensitivitySetting,
    photo,
    truthful,
)
from tests.conftest import Run

pytestmark = pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
TOL = 0.02


@pytest.fixture(scope="module")
def sensitivity() -> Sensitivity:
    name = "scenes-turbo"
    coarse = {name: models.load(name, device="cpu", dtype=torch.bfloat16)}
    return Sensitivity(Convergence({name: models.load(name, device="cpu")}, 2), coarse)


def configuration(sensitivity: Sensitivity, **changes: object) -> SensitivitySetting:
    [(name, model)] = sensitivity.cases.models.items()
    made = SensitivitySetting(name, model.fingerprint, 4, "auto", "as is", TOL, 0)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reactions(sensitivity: Sensitivity) -> Callable[[Condition, str], Reaction]:
    """The second picture under a condition, inverted once by each solver."""

    @lru_cache
    def measured(condition: Condition, solver: str) -> Reaction:
        [reaction] = sensitivity(configuration(sensitivity, condition=condition, solver=solver), [1])
        return reaction

    return measured


@pytest.mark.parametrize("solver", ["auto", "gnri"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_nothing_blows_up_and_statuses_are_true(
    reactions: Callable[[Condition, str], Reaction], condition: Condition, solver: str
) -> None:
    found = reactions(condition, solver)
    assert found.finite
    assert found.truthful
    assert all(map(math.isfinite, (*found.claimed, *found.residual, found.latent_rmse, found.psnr_db)))
    assert 0.1 < found.noise_length < 10
    assert set(found.status) <= {"CONVERGED", "MAX_ITER", "DIVERGED"}


@pytest.mark.parametrize("solver", ["auto", "faithful"])
def test_statuses_are_true_on_many_steps_too(solver: str) -> None:
    name = "scenes"
    longer = Sensitivity(Convergence({name: models.load(name, device="cpu")}, 3), {})
    base = configuration(longer, steps=20, solver=solver)
    conditions: tuple[Condition, ...] = ("prompt wrong", "photo")
    for condition in conditions:
        [found] = longer(replace(base, condition=condition), [2])
        assert found.finite
        assert found.truthful
        assert len(found.status) == 20


def test_presets_go_without_their_noise_maps(reactions: Callable[[Condition, str], Reaction]) -> None:
    found = reactions("as is", "auto")
    assert found.calls == 4  # with noise maps, 8
    assert found.latent_rmse > 1e-2


def test_every_condition_is_another_problem(reactions: Callable[[Condition, str], Reaction]) -> None:
    assert len({reactions(each, "auto").latent_rmse for each in CONDITIONS}) == len(CONDITIONS)


@pytest.mark.parametrize(
    ("status", "claimed", "residual", "holds"),
    [
        (Status.CONVERGED, 0.01, 0.01, True),
        (Status.CONVERGED, 0.03, 0.03, False),
        (Status.CONVERGED, 0.01, 0.3, False),
        (Status.MAX_ITER, 0.03, 0.01, True),
        (Status.MAX_ITER, 0.01, 0.01, False),
        (Status.MAX_ITER, 0.03, math.nan, False),
        (Status.DIVERGED, 0.3, 0.3, True),
        (Status.DIVERGED, math.inf, math.nan, True),
        (Status.DIVERGED, 0.3, 0.5, False),
    ],
)
def test_a_status_is_true_or_not(status: Status, claimed: float, residual: float, holds: bool) -> None:
    assert truthful(status, claimed, residual, TOL) is holds


def test_photographs_come_with_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(photo(name).shape[2] == 3 for name in PHOTOS)  # type: ignore[union-attr]
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ValueError, match=r"install rnri\[bench\]"):
        photo(PHOTOS[0])


def test_the_command_measures_and_goes_on(run: Run, model: Path) -> None:
    common = ("--model", model, "--steps", 2, "--inverter", "auto", "--limit", 1, "--device", "cpu", "-o", "found")
    code, out, err = run("bench", "sensitivity", *common, "--condition", "as is", "bfloat16")
    assert code == 0, err
    lines = Path("found/sensitivity.jsonl").read_text().splitlines()
    assert len(lines) == 3  # what it ran on, and two measurements
    code, out, _ = run("bench", "sensitivity", *common, "--condition", "as is", "photo")
    assert code == 0
    assert len(Path("found/sensitivity.jsonl").read_text().splitlines()) == 5
    rows = [line for line in out.splitlines() if "auto" in line]
    assert [next(each for each in CONDITIONS if each in row) for row in rows] == ["as is", "bfloat16", "photo"]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--condition", "dark", "--condition 'dark' is not one of as is, prompt wrong"),
        ("--inverter", "magic", "no solver is called 'magic'"),
        ("--tol", "0", "--tol 0 is not accepted"),
        ("--output", "picture.png", "picture.png is a file"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(run: Run, option: str, value: str, says: str) -> None:
    code, out, err = run("bench", "sensitivity", "-o", "found", option, value)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert not Path("found").exists()
