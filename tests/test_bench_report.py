"""The page of measured solvers: whom it compares with whom, and that its columns are the numbers of the lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rnri_core.inversion.presets import INVERTERS, PRESETS
from rnri_core.solvers import OURS, SOLVERS

from rnri.evaluation import reports
from rnri.evaluation.plotting import COLOURS, Look, apart
from rnri.evaluation.records import Line, Run
from rnri.evaluation.solvers import guidances
from rnri.evaluation.solvers.convergence import CONVERGENCE, ConvergenceLine, InversionMeasurement, SolverSetting
from rnri.evaluation.solvers.cost import InversionCost
from rnri.evaluation.solvers.groups import grouped, scores
from rnri.evaluation.solvers.guidances import Tuned, choose
from rnri.evaluation.solvers.report import markdown
from rnri.evaluation.solvers.rivals import Entry, comparison
from rnri.evaluation.solvers.spectra import Spectrum, SpectrumLine, SpectrumSetting
from rnri.evaluation.statistics import Estimate
from tests.conftest import Run as Command

RUN = Run("now", "abacus", 1, "none", "3", {})


def measured(
    image: int, solver: str, way: str = "published", *, calls: int = 8, correct: bool = False, **changes: Any
) -> ConvergenceLine:
    """A line as the benchmark writes it; even pictures are edited locally."""
    cost = InversionCost(calls, 0, 0, calls, batch=1, seconds=0.5, overhead=0.02, memory_mb=300.0)
    measurement = InversionMeasurement(
        kind="replace",
        local=image % 2 == 0,
        plan=[2, 2],
        cost=replace(cost, **changes.pop("cost", {})),
        status=["FIXED_BUDGET", "FIXED_BUDGET"],
        residuals=[[0.3, 0.2], [0.5, 0.4]],
        residual=[0.1, 0.05],
        latent_rmse=0.1,
        psnr_db=30.0,
        bound_db=34.0,
        noise_length=1.0,
        noise_kurtosis=0.0,
        noise_correlation=0.0,
        edit_rmse=0.2,
        edit_psnr_db=27.0,
        unedited_rmse=0.4,
        unedited_psnr_db=22.0,
    )
    return Line(image, setting(solver, way, calls=calls, correct=correct), replace(measurement, **changes), RUN)


def setting(solver: str, way: str = "published", *, calls: int = 8, correct: bool = False) -> SolverSetting:
    return SolverSetting("m", "f", 2, calls, solver, way, correct, 1.0, "heldout", 0)


def table(page: str, head: str, after: str = "") -> list[dict[str, str]]:
    """The rows of the first table behind ``after`` that has a column ``head``, by column."""
    lines = page[page.index(after) :].splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("|") and f" {head} |" in line)
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_every_solver_is_ours_or_published() -> None:
    assert set(OURS) < set(SOLVERS)
    for name in (*SOLVERS, *INVERTERS):
        assert (setting(name).origin == "ours") is (name in OURS)
        if name not in OURS:
            assert setting(name).origin == "published"
            assert setting(name, correct=True).origin == setting(name, "noised").origin == "borrowed"
        assert setting(name).exact is (name in INVERTERS)
        assert setting(name, correct=True).exact
    for name, preset in PRESETS.items():
        assert setting(name, "preset").origin == "ours"
        assert setting(name, "preset").exact is preset.noise_maps
    assert setting("barzilai-borwein+best-so-far").origin == setting("chebyshev:margin=0").origin == "ours"
    assert setting("chebyshev", "informed", correct=True).method == "chebyshev, informed, corrected"


def contest() -> list[ConvergenceLine]:
    lines = []
    for image in range(6):
        worse = 1 + image / 10
        lines += [
            measured(image, "chebyshev", "informed", latent_rmse=0.01 * worse, edit_rmse=0.20 + 0.01 * image),
            measured(image, "gnri", latent_rmse=0.05 * worse, edit_rmse=0.30),
            measured(image, "gnri", "informed", latent_rmse=0.02 * worse, edit_rmse=0.10),
            measured(image, "fixed-point", correct=True, latent_rmse=1e-7, edit_rmse=0.05),
            measured(image, "edict", calls=4, latent_rmse=1e-7, edit_rmse=0.25, psnr_db=33.5),
        ]
    return [*lines, measured(6, "gnri", latent_rmse=9.0, edit_rmse=9.0)]  # a picture that only one method has


def test_what_is_exact_or_borrowed_takes_no_part_in_fidelity() -> None:
    page = comparison(grouped(contest()))
    [row] = table(page, "ratio")
    assert row["ours"] == "chebyshev, informed: 0.0125"
    assert row["published"] == "gnri: 0.0625"
    assert row["ratio"] == "0.200 (0.200 to 0.200)"
    assert row["n"] == "6"
    assert row["published solver in our ways"] == "gnri, informed: 0.025"
    assert (
        "left out here: `edict`, `fixed-point, corrected`. The largest of their median latent errors is 1e-07" in page
    )
    assert "at most 4.000 dB below" in page  # the corrected one, at 30 of 34


def test_best_edits_are_held_against_rivals_of_equal_or_fewer_calls() -> None:
    rows = table(comparison(grouped(contest())), "difference")
    assert [(row["calls"], row["edits"]) for row in rows] == [("8", "all"), ("8", "local"), ("8", "global")]
    assert {row["published"] for row in rows} == {"edict: 0.25 (4 calls)"}
    assert [row["ours"] for row in rows] == [f"chebyshev, informed: {x}" for x in ("0.225", "0.22", "0.23")]
    assert [row["n"] for row in rows] == ["6", "3", "3"]
    for row, wanted in zip(rows, (-0.025, -0.03, -0.02), strict=True):
        value, low, high = (float(each.strip("()")) for each in row["difference"].split() if each != "to")
        assert value == pytest.approx(wanted)
        assert low < value < high


def test_the_default_is_held_against_everything_else() -> None:
    lines = [*contest(), *(measured(image, "auto", "preset", edit_rmse=0.04) for image in range(6))]
    rows = table(comparison(grouped(lines)), "best of the rest")
    assert {row["best of the rest"] for row in rows} == {"fixed-point, corrected: 0.05"}
    assert rows[0]["difference"] == "-0.0100 (-0.0100 to -0.0100)"
    assert "best of the rest" not in comparison(grouped(contest()))


def test_of_rivals_that_need_more_calls_nothing_is_said() -> None:
    lines = [measured(0, "chebyshev", calls=4), measured(0, "gnri", calls=8, latent_rmse=0.3, edit_rmse=0.3)]
    rows = table(comparison(grouped(lines)), "ratio")
    assert [(row["calls"], row["ours"]) for row in rows] == [("8", "chebyshev: 0.1 (4 calls)")]


def test_ratios_are_of_medians_and_resample_pictures_in_pairs() -> None:
    rng = np.random.default_rng(0)
    theirs = {n: float(value) for n, value in enumerate(rng.lognormal(sigma=2.0, size=60))}
    ours = {n: value * (0.5 + 0.01 * rng.normal()) for n, value in theirs.items()}
    found = Estimate.ratio(ours, theirs)
    assert found.value == pytest.approx(np.median(list(ours.values())) / np.median(list(theirs.values())))
    assert 0.45 < found.low < 0.5 < found.high < 0.55  # unpaired, medians of such numbers differ by a factor
    assert math.isnan(Estimate.ratio({1: 1.0}, {2: 1.0}).value)
    assert Estimate.ratio({1: math.inf}, {1: 1.0}).value == math.inf


def test_a_picture_measured_twice_counts_once() -> None:
    lines = [measured(0, "gnri", edit_rmse=value) for value in (0.1, 0.3)] + [measured(1, "gnri", edit_rmse=math.inf)]
    assert scores(lines, lambda each: each.edit_rmse) == {0: pytest.approx(0.2), 1: math.inf}
    assert Entry.of("gnri", lines, {0, 1}, local=False).edits == {1: math.inf}


def test_columns_are_the_numbers_of_the_lines() -> None:
    costs = [{"nfe": n, "nvjp": 2, "calls": n + 4, "seconds": n / 10, "memory_mb": 100.0 * n} for n in (1, 2, 9)]
    lines = [
        measured(
            image, "gnri", cost=cost, latent_rmse=value, edit_rmse=2 * value, residual=[0.005, worst], status=status
        )
        for image, (cost, value, worst, status) in enumerate(
            zip(
                costs,
                (0.1, 0.2, 0.6),
                (0.001, 0.02, 0.03),
                (["FIXED_BUDGET"], ["DIVERGED"], ["FIXED_BUDGET"]),
                strict=True,
            )
        )
    ]
    page = markdown(lines)
    [fidelity] = table(page, "NFE + JVP + VJP")
    assert fidelity["pictures"] == "3"
    assert fidelity["calls"] == "6"
    assert fidelity["NFE + JVP + VJP"] == "2 + 0 + 2"
    assert fidelity["latent error"] == "0.200 (0.100 to 0.600)"
    assert fidelity["residual"] == "0.02"
    assert (fidelity["converged %"], fidelity["diverged %"]) == ("33", "33")
    assert (fidelity["seconds"], fidelity["memory MB"], fidelity["outside the network %"]) == ("0.2", "200", "2")
    [edits] = table(page, "global")
    assert [edits[name].split()[0] for name in ("edit error", "local", "global")] == ["0.600", "0.700", "0.400"]
    [steps] = table(page, "step 1 (next to the image)")
    assert steps["step 1 (next to the image)"] == "0.5 → 0.02 in 2"
    assert steps["step 2 (next to the noise)"] == "0.3 → 0.005 in 2"


def test_what_cannot_be_told_is_a_dash() -> None:
    [cells] = table(markdown([measured(0, "gnri", cost={"overhead": None, "memory_mb": None})]), "memory MB")
    assert cells["memory MB"] == cells["outside the network %"] == "–"


def under(line: ConvergenceLine, **changes: Any) -> ConvergenceLine:
    return replace(line, configuration=replace(line.configuration, **changes))


def test_guidance_is_chosen_among_the_same_pictures() -> None:
    lines = [
        under(measured(image, name, edit_rmse=error), split="tuning", guidance=guidance)
        for name, guidance, errors in (
            ("gnri", 1.0, [0.4, 0.4, 0.0]),  # the third was measured at this guidance alone
            ("gnri", 2.0, [0.3, 0.1]),
            ("gnri", 3.0, [0.3, 0.2]),
            ("edict", 1.0, [0.1]),
        )
        for image, error in enumerate(errors)
    ]
    [found] = choose(lines)
    assert (found.method, found.guidance, found.pictures) == ("gnri", 2.0, 2)
    assert [guidance for guidance, _ in found.tried] == [1.0, 2.0, 3.0]
    assert [error for _, error in found.tried] == pytest.approx([0.4, 0.2, 0.25])
    assert choose([under(line, split="heldout") for line in lines]) == []


def test_methods_at_their_own_guidance_share_a_table() -> None:
    lines = [under(measured(0, "gnri"), guidance=2.0), under(measured(0, "chebyshev", latent_rmse=0.05), guidance=1.0)]
    tuned = [
        Tuned("m", "f", 2, name, at, 1, ((1.0, 0.1), (2.0, 0.2))) for name, at in (("gnri", 2.0), ("chebyshev", 1.0))
    ]
    assert table(markdown(lines), "ratio") == []
    page = markdown(lines, tuned=tuned)
    [row] = table(page, "ratio")
    assert (row["guidance"], row["ours"], row["published"]) == ("tuned", "chebyshev: 0.05", "gnri: 0.1")
    ends = {row["method"]: row["best guidance"] for row in table(page, "best guidance")}
    assert ends == {"gnri": "2", "chebyshev": "1"}
    others = [under(line, fingerprint="of other weights") for line in lines]
    assert table(markdown(others, tuned=tuned), "ratio") == []


def test_spectra_stand_beside_their_bounds() -> None:
    def spectrum(image: int, norm: float, quotient: float) -> SpectrumLine:
        return Line(
            image, SpectrumSetting("m", "f", 1, 9, 0), Spectrum([999.0], [norm], [quotient], [-0.5], [0.8]), RUN
        )

    spectra = [spectrum(0, 0.4, 0.4), spectrum(1, 1.6, -0.8), spectrum(2, 2.0, 1.5)]
    [row] = table(markdown([measured(0, "gnri")], spectra=spectra), "‖J‖")
    names = ("timestep", "n", "‖J‖", "size of vᵀJv/‖J‖", "vᵀJv below 0", "low", "β")
    assert [row[name] for name in names] == ["999", "3", "1.6", "0.75", "1", "-0.5", "0.8"]


def test_all_that_is_drawn_looks_different() -> None:
    looks = [Look.of(n) for n in range(len(PRESETS) + len(SOLVERS) + len(INVERTERS))]
    assert len(set(looks)) == len(looks)
    assert all(one.marker != other.marker for one, other in combinations(looks, 2) if one.colour == other.colour)
    assert len({Look.of(n, COLOURS[1:]) for n in range(40)}) == 40


def test_names_are_moved_apart_no_further_than_needed() -> None:
    wanted = sorted(np.random.default_rng(1).uniform(size=20).tolist())
    found = apart(wanted, 0.04)
    assert all(after - before >= 0.04 - 1e-12 for before, after in pairwise(found))
    assert apart([0.0, 0.5, 1.0], 0.3) == [0.0, 0.5, 1.0]

    def moved(places: Sequence[float]) -> float:
        return float(sum((place - want) ** 2 for place, want in zip(places, wanted, strict=True)))

    pushed = wanted[:1]
    for want in wanted[1:]:
        pushed.append(max(want, pushed[-1] + 0.04))
    assert 0 < moved(found) < moved(pushed)


def test_every_figure_is_drawn_of_what_fails_and_of_what_is_exact(tmp_path: Path) -> None:
    lines = [*contest(), *(measured(image, "spd", latent_rmse=math.inf, edit_rmse=math.inf) for image in range(6))]
    settings = list(dict.fromkeys(line.configuration for line in lines))
    known = {(line.image, line.configuration): line.measurement for line in lines}
    for each in settings:
        keys = [image for image, other in known if other == each]
        CONVERGENCE.extend(tmp_path, RUN, keys, [each], lambda how, some: [known[image, how] for image in some])
    page, _, drawn = reports.write(tmp_path)
    assert drawn
    assert len(list(tmp_path.glob("*.png"))) == 5
    assert "| spd | 6 | 8 | 8 + 0 + 0 | inf (inf to inf) |" in page.read_text()


@pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")
def test_guidance_that_was_tuned_is_used_and_reported(run: Command, model: Path, no_figures: None) -> None:
    common: tuple[object, ...] = ("--model", model, "--steps", 2, "--calls", 1, "--limit", 2, "--device", "cpu")
    common += ("--spectra", 0, "--scheme", "published", "--inverter", "explicit", "edict")
    code, _, err = run("bench", "convergence", *common, "--split", "tuning", "--guidance", 1, 2, 4, "-o", "tuning")
    assert code == 0, err
    chosen = {each.method: each for each in guidances.read(Path("tuning"))}
    for name, each in chosen.items():
        measured = [line for line in CONVERGENCE.read(Path("tuning")) if line.configuration.solver == name]
        means = {
            scale: np.mean([e.measurement.edit_rmse for e in measured if e.configuration.guidance == scale])
            for scale in (1, 2, 4)
        }
        assert each.guidance == min(means, key=lambda scale: means[scale])
        assert dict(each.tried) == pytest.approx(means)
    assert "## Guidance, chosen on the tuning split" in Path("tuning/report.md").read_text()

    code, out, err = run("bench", "convergence", *common, "--tuned", "tuning", "-o", "heldout")
    assert (code, out.splitlines()[0]) == (0, "4 new measurements; 0 of 2 settings have too few calls"), err
    settings = [line.configuration for line in CONVERGENCE.read(Path("heldout"))]
    assert all(each.guidance == chosen[each.solver].guidance for each in settings)
    assert "edits at the guidance tuned for each method" in Path("heldout/report.md").read_text()

    code, _, err = run("bench", "convergence", *common, "--tuned", "nowhere", "-o", "other")
    assert (code, "nowhere holds no guidance.json: make one with" in err) == (2, True)
    code, _, err = run("bench", "convergence", *common, "--tuned", "tuning", "--split", "tuning", "-o", "other")
    assert (code, "--tuned needs held-out scenes" in err) == (2, True)
