"""Intervals, paired tests and corrections against scipy, and against what must hold."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rnri.evaluation.statistics import Estimate, holm, paired
from rnri.evaluation.tables import digits
from tests.conftest import Run


def sample(count: int, mean: float = 0.0, seed: int = 0) -> list[float]:
    result: list[float] = (np.random.default_rng(seed).normal(size=count) + mean).tolist()
    return result


def test_intervals_are_those_of_scipy() -> None:
    values = sample(60, seed=1)
    found = Estimate.of(values, np.mean)
    bounds = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(5)).confidence_interval
    assert found.value == pytest.approx(np.mean(values))
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high), abs=0.03)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    inside = [low <= 0 <= high for _, low, high in (Estimate.of(sample(40, seed=n), np.mean) for n in range(200))]
    assert 0.88 <= np.mean(inside) <= 0.99


def test_a_difference_is_told_from_chance_picture_by_picture() -> None:
    easy = sample(50, seed=2)
    theirs = {n: 10 * value for n, value in enumerate(easy)}
    ours = {n: value + 0.5 + 0.3 * each for (n, value), each in zip(theirs.items(), sample(50, seed=3), strict=True)}
    found = paired(ours, theirs)
    assert found is not None
    assert found.p < 0.001
    assert found.mean.low < 0.5 < found.mean.high
    assert stats.ttest_ind(list(ours.values()), list(theirs.values())).pvalue > 0.5  # unpaired, nothing is seen


def test_p_values_are_near_those_of_the_t_test_for_normal_differences() -> None:
    for seed in range(3):
        differences = sample(40, mean=0.3, seed=seed)
        found = paired(dict(enumerate(differences)), dict.fromkeys(range(40), 0.0))
        assert found is not None
        assert found.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)


def test_only_pictures_that_both_have_count() -> None:
    found = paired({1: 1.0, 2: 5.0, 3: 9.0}, {2: 4.0, 3: 7.0, 4: 0.0})
    assert found is not None
    assert (found.pairs, found.mean.value) == (2, 1.5)
    assert paired({1: 1.0}, {2: 1.0}) is None
    alone = paired({1: 2.0}, {1: 1.0})
    assert alone is not None
    assert (alone.pairs, alone.p) == (1, 1)
    alike = paired({1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0})
    assert alike is not None
    assert alike.p == 1


def test_several_p_values_are_corrected_in_order() -> None:
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    p = [0.001, 0.2, 0.02, 0.9]
    corrected = holm(p)
    assert corrected == pytest.approx([0.004, 0.4, 0.06, 0.9])
    assert np.argsort(corrected).tolist() == np.argsort(p).tolist()
    assert max(holm([0.6, 0.7, 0.8])) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(100.0, "100"), (99.96, "100"), (0.0, "0"), (-1.5, "-1.50"), (2e-7, "2e-07")]
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_without_scipy_the_command_that_installs_it_is_told(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    code, out, err = run("bench", "scenes", "--model", model, "-o", "found")
    assert (code, out, err) == (2, "", "rnri: comparing methods needs scipy: pip install 'rnri[bench]'\n")
    assert not Path("found").exists()
