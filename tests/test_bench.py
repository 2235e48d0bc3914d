"""What the convergence benchmark measures in a setting, spectra, and the page made of the lines."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from rnri_core.solvers.equation import Equation

from rnri import models
from rnri.cli.bench_convergence import DEFAULT_CALLS
from rnri.evaluation.records import Run
from rnri.evaluation.solvers.convergence import (
    CONVERGENCE,
    WAYS,
    Convergence,
    InversionMeasurement,
    SolverSetting,
    correlation,
    grid,
    kurtosis,
)
from rnri.evaluation.solvers.groups import SolverGroup, grouped
from rnri.evaluation.solvers.report import SolverSummary, markdown
from rnri.evaluation.solvers.spectra import Spectra, SpectrumSetting, largest
from rnri.evaluation.statistics import Estimate
from tests.conftest import Run as Command
from tests.problems import normal

ABOUT = Run("now", "abacus", 1, "none", "3", {})

# What a cell measures


@pytest.fixture(scope="module")
def bench(model: Path) -> Convergence:
    return Convergence({"tiny": models.load(str(model), device="cpu")}, 9)


def cell(bench: Convergence, **changes: object) -> SolverSetting:
    [made] = grid(bench.models, steps=[3], budgets=[2], solvers=["fixed-point"], ways=["published"])
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_a_cell_tells_what_was_spent_and_how_near_it_came(bench: Convergence) -> None:
    [coarse] = bench(cell(bench), [0])
    [fine] = bench(cell(bench, calls=24), [0])
    assert (coarse.cost.calls, coarse.cost.nfe, coarse.plan) == (6, 6, [2, 2, 2])
    assert fine.plan == [8, 8, 8]
    assert [len(history) for history in fine.residuals] == fine.plan
    assert fine.latent_rmse < 0.01 * coarse.latent_rmse
    assert max(fine.residual) < 1e-5
    assert fine.psnr_db == pytest.approx(fine.bound_db, abs=0.01)
    assert coarse.status == ["FIXED_BUDGET"] * 3
    assert coarse.cost.seconds > 0
    assert coarse.cost.overhead is not None
    assert 0 <= coarse.cost.overhead < 1
    assert coarse.cost.memory_mb is not None
    assert 50 < coarse.cost.memory_mb < 100_000  # a process with torch in it
    assert (fine.kind, fine.local) == (bench.edits("heldout")[0].kind, bench.edits("heldout")[0].local)
    assert coarse.edit_rmse != coarse.unedited_rmse > 0
    assert fine.edit_psnr_db < 60


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_corrections_are_paid_for_and_give_the_picture_back(bench: Convergence) -> None:
    [corrected] = bench(cell(bench, calls=6, correct=True), [1])
    assert corrected.plan == [1, 1, 1]
    assert corrected.cost.calls == 6
    assert corrected.latent_rmse < 1e-5 < max(corrected.residual)


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_a_batch_measures_what_single_pictures_do(bench: Convergence) -> None:
    how = cell(bench, solver="chebyshev", way="noised", calls=8, guidance=2.0)
    together, alone = bench(how, [0, 7]), [bench(how, [k])[0] for k in (0, 7)]
    for one, other in zip(together, alone, strict=True):
        assert (one.cost.calls, one.cost.batch, one.plan) == (8, 2, other.plan)
        for name in ("latent_rmse", "psnr_db", "edit_rmse", "edit_psnr_db", "noise_length", "noise_kurtosis"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3)


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_inverters_are_measured_beside_solvers(bench: Convergence) -> None:
    ways = ["published", "informed"]
    found = grid(bench.models, steps=[2, 3], budgets=[1, 4], solvers=["edit-friendly"], ways=ways, correct=True)
    assert [(each.calls, each.way, each.correct) for each in found] == [
        (2, "published", False),
        (3, "published", False),
    ]
    [measured] = bench(found[1], [0])
    assert (measured.cost.calls, measured.plan) == (3, [1, 1, 1])
    assert measured.latent_rmse < 1e-5
    assert measured.edit_rmse > 1e-2


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_samplers_on_pairs_are_measured_beside_solvers(bench: Convergence) -> None:
    found = grid(bench.models, steps=[3], budgets=[1, 4], solvers=["edict", "bdia"], ways=["published", "noised"])
    assert [each.calls for each in found] == [6, 3]
    for each in found:
        [measured] = bench(each, [0])
        assert measured.cost.calls == measured.cost.nfe == each.calls
        assert (measured.status, measured.residuals) == ([], [])
        assert max(measured.residual) < 1e-4
        assert measured.latent_rmse < 1e-4 < measured.edit_rmse


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_presets_are_measured_at_the_calls_of_others(bench: Convergence) -> None:
    found = grid(bench.models, steps=[3], budgets=[3, 5], solvers=["auto"], ways=["published", "noised"])
    assert [(each.calls, each.way, each.correct) for each in found] == [(9, "preset", False), (15, "preset", False)]
    for each in found:
        [measured] = bench(each, [0])
        assert measured.cost.calls == each.calls
        assert sum(measured.plan) == each.calls - 3
        assert measured.latent_rmse < 1e-5
    assert not bench.affordable(cell(bench, solver="auto", calls=5))


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_guidance_is_tuned_on_other_pictures(bench: Convergence) -> None:
    common = {"steps": [2], "budgets": [2], "solvers": ["chebyshev"], "ways": ["informed"]}
    one, two = grid(bench.models, **common, guidances=[1, 3], split="tuning")  # type: ignore[arg-type]
    assert bench.edits("tuning") != bench.edits("heldout")
    [[plain], [guided]] = bench(one, [3]), bench(two, [3])
    assert plain.latent_rmse == guided.latent_rmse
    assert plain.edit_rmse != guided.edit_rmse
    assert plain.unedited_rmse != bench(replace(one, split="heldout"), [3])[0].unedited_rmse


def test_a_method_is_reported_at_its_own_guidance(bench: Convergence) -> None:
    def tuned(setting: SolverSetting) -> float | None:
        return 2.5 if setting.way == "noised" else None

    common = {"steps": [3], "budgets": [2], "solvers": ["gnri", "edict"], "ways": ["published", "noised"]}
    found = grid(bench.models, **common, guidances=[1, 3], tuned=tuned)  # type: ignore[arg-type]
    assert [(each.solver, each.way, each.guidance) for each in found] == [
        ("gnri", "published", 1),
        ("gnri", "published", 3),
        ("gnri", "noised", 2.5),
        ("edict", "published", 1),
        ("edict", "published", 3),
    ]


@pytest.mark.parametrize(("steps", "wanted"), [(4, {6, 8, 12, 20, 40}), (20, {24, 40, 60, 100})])
def test_the_default_budgets_hold_those_of_the_figures(bench: Convergence, steps: int, wanted: set[int]) -> None:
    budgets = [float(each) for each in DEFAULT_CALLS]
    found = grid(bench.models, steps=[steps], budgets=budgets, solvers=["gnri"], ways=list(WAYS))
    assert wanted <= {each.calls for each in found}
    assert {each.way for each in found} == {"published", "informed", "noised"}


def test_what_cannot_be_afforded_is_known_beforehand(bench: Convergence) -> None:
    assert bench.affordable(cell(bench, calls=3))
    assert not bench.affordable(cell(bench, calls=2))
    assert not bench.affordable(cell(bench, calls=5, correct=True))
    assert not bench.affordable(cell(bench, calls=9, solver="newton-krylov:directions=3"))


def test_the_grid_knows_what_there_is(bench: Convergence) -> None:
    every = grid(bench.models, steps=[4, 20], budgets=[1.5, 2], solvers=["gnri", "spd"], ways=["published", "noised"])
    assert len(set(every)) == 16
    assert {each.guidance for each in every} == {bench.models["tiny"].defaults.guidance}
    assert [each.calls for each in every[::4]] == [6, 8, 30, 40]
    with pytest.raises(ValueError, match="scheme 'late' is not known: use published, informed, noised"):
        grid(bench.models, steps=[4], budgets=[1], solvers=["gnri"], ways=["late"])
    with pytest.raises(ValueError, match="no solver is called 'magic'"):
        grid(bench.models, steps=[4], budgets=[1], solvers=["magic"], ways=["noised"])


def test_noise_is_judged_as_white() -> None:
    noise = normal(4, 64, 64, seed=1)
    assert kurtosis(noise) == pytest.approx(scipy.stats.kurtosis(noise.numpy(), axis=None), abs=1e-9)
    assert abs(kurtosis(noise)) < 5 * math.sqrt(24 / noise.numel())
    assert abs(correlation(noise)) < 5 / math.sqrt(2 * noise.numel())
    smooth = torch.nn.functional.avg_pool2d(noise[None], 2, stride=1)[0]
    assert correlation(smooth) == pytest.approx(0.5, abs=0.05)


# Spectra


def test_power_iteration_finds_the_norm() -> None:
    matrix = normal(6, 6, seed=2)
    equation = Equation(lambda z: (matrix @ z.flatten()).view_as(z).tanh())
    z = 0.1 * normal(1, 6, seed=3)
    size, _ = largest(equation, z, 200, normal(1, 6, seed=4))
    slope = torch.func.jacrev(equation._g)(z).view(6, 6)
    assert size.item() == pytest.approx(torch.linalg.matrix_norm(slope, 2).item(), rel=1e-6)
    assert (equation.njvp, equation.nvjp) == (201, 200)


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_every_step_is_measured_beside_its_bounds(bench: Convergence) -> None:
    how = SpectrumSetting("tiny", bench.models["tiny"].fingerprint, steps=2, products=2, seed=0)
    [found] = Spectra(bench)(how, [2])
    assert len(found.t) == len(found.norm) == len(found.low) == 2
    assert sorted(found.t, reverse=True) == found.t
    assert all(abs(q) <= size * (1 + 1e-5) for q, size in zip(found.quotient, found.norm, strict=True))
    assert all(0 <= low + 1e-9 < high <= 1 for low, high in zip(found.low, found.high, strict=True))


# The page


def test_intervals_are_those_of_the_textbook() -> None:
    values = normal(400, seed=5).tolist()
    mean = Estimate.of(values, np.mean)
    half = 1.96 * np.std(values) / 20
    assert (mean.low, mean.high) == pytest.approx((mean.value - half, mean.value + half), abs=0.1 * half)
    median = Estimate.of([1.0, 2.0, math.inf])
    assert (median.value, median.low, median.high) == (2.0, 1.0, math.inf)
    assert str(Estimate.of([])) == "–"


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_the_command_measures_goes_on_and_reports(run: Command, model: Path) -> None:
    common = ("--model", model, "--steps", 2, "--calls", 1, 2, "--limit", 2, "--device", "cpu", "-o", "found")
    schemes = ("--scheme", "published", "informed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "rnri.evaluation.solvers.figures", None)
        first = ("--inverter", "explicit", "newton-krylov", "--spectra", 1)
        code, out, err = run("bench", "convergence", *common, *schemes, *first)
    assert (code, "without matplotlib there are no figures" in err) == (0, True)
    assert out.startswith("8 new measurements; 4 of 8 settings have too few calls")
    more = ("--inverter", "explicit", "fixed-point", "--scheme", "informed", "noised", "--spectra", 0)
    code, out, _ = run("bench", "convergence", *common, *more)
    assert (code, out.splitlines()[0]) == (0, "12 new measurements; 0 of 8 settings have too few calls")

    folder = Path("found")
    lines = CONVERGENCE.read(folder)
    assert len(lines) == 20
    [row] = [
        SolverSummary(name, some)
        for group, methods in grouped(lines).items()
        for name, some in methods.items()
        if group == SolverGroup(str(model), "heldout", 1.0, 2, 4) and name == "fixed-point, noised"
    ]
    assert (row.pictures, row.calls, row.diverged) == (2, 4, 0)
    assert row.error.low <= row.error.value <= row.error.high
    page = (folder / "report.md").read_text()
    for name in ("explicit", "explicit, informed", "fixed-point, noised"):
        assert f"| {name} | 2 | " in page
    figures = {path.name for path in folder.glob("*.png")}
    assert len(figures) == 6
    assert all(f"]({name})" in page for name in figures)

    (folder / "report.md").unlink()
    assert run("bench", "report", "found")[:2] == (0, f"{folder / 'report.md'}\n")
    assert (folder / "report.md").read_text() == page


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_a_measurement_that_failed_counts_as_the_worst(bench: Convergence, tmp_path: Path) -> None:
    def failing(setting: SolverSetting, images: Sequence[int]) -> list[InversionMeasurement]:
        [measured] = bench(setting, images)
        return [replace(measured, latent_rmse=math.nan, residual=[math.nan] * 3) if images[0] == 2 else measured]

    CONVERGENCE.extend(tmp_path, ABOUT, range(3), [cell(bench)], failing)
    lines = CONVERGENCE.read(tmp_path)
    row = SolverSummary("fixed-point", lines)
    assert math.isfinite(row.error.value)
    assert math.isinf(row.error.high)
    assert row.converged <= 2 / 3
    assert "inf" in markdown(lines)


def test_there_must_be_something_to_report(run: Command) -> None:
    code, _, err = run("bench", "report", "nowhere")
    assert (code, "nowhere holds no measurements: make some with" in err) == (2, True)
    with pytest.raises(ValueError, match="nothing to report"):
        markdown([])


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--calls", "0", "--calls 0 is not accepted"),
        ("--steps", "x", "--steps x is not accepted: give a whole number"),
        ("--split", "train", "--split 'train' is not one of 'heldout', 'tuning'"),
        ("--guidance", "-1", "--guidance -1 is not accepted"),
        ("--limit", "0", "--limit 0 is not accepted"),
        ("--output", "picture.png", "picture.png is a file"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(run: Command, option: str, value: str, says: str) -> None:
    code, out, err = run("bench", "convergence", "-o", "found", option, value)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert not Path("found").exists()
