"""The whole chain: sets of edits, methods, metrics, lines, page and figures; and that it survives being killed."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import rnri
from rnri import images
from rnri.baselines import METHODS, method
from rnri.evaluation.edits.report import Table, markdown, summary, tables
from rnri.evaluation.edits.run import EDITS, EditLine, EditMeasurement, Edits, MethodSetting
from rnri.evaluation.edits.tuning import candidates
from rnri.evaluation.records import Key, Line, Run
from rnri.metrics import METRICS, Networks
from tests import sets, tiny
from tests.conftest import Run as Command

pytestmark = pytest.mark.filterwarnings("ignore::rnri.models.PromptWarning")

ONCE, TWICE = "inversion:iterations=1", "inversion:iterations=2"
BOTH = ("--method", TWICE, "--method", ONCE)


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.judges(tmp_path_factory.mktemp("judges"))


def measured(folder: Path) -> dict[tuple[Key, str], EditMeasurement]:
    """The measurement of each picture by each method."""
    lines = EDITS.read(folder)
    by_key = {(line.image, line.configuration.method): line.measurement for line in lines}
    assert len(by_key) == len(lines)
    return by_key


def test_scenes_are_measured_to_their_truth_and_reported(run: Command, model: Path) -> None:
    common = ("bench", "scenes", "--model", model, "--device", "cpu", "-o", "found", *BOTH)
    code, out, err = run(*common, "--limit", 2)
    assert (code, out.splitlines()) == (0, ["8 new measurements", "found/report.md"])
    assert "edit 8 of 8" in err
    found = measured(Path("found"))
    assert {name for _, name in found} == {"unedited", "autoencoded", ONCE, TWICE}
    for (_, name), each in found.items():
        assert (Path("found") / each.picture).is_file()
        assert (each.scores["psnr"] or 0) > 0
        assert each.scores["target-accuracy"] is not None
        assert each.nfe == {ONCE: 12, TWICE: 16}.get(name, 0)
        assert (each.status == "NOT_SOLVED") == (name in ("unedited", "autoencoded"))
        if name == "unedited" and each.scores["psnr-background"] is not None:
            assert each.scores["psnr-background"] == 100
    page = Path("found/report.md").read_text()
    assert "Pictures: heldout edits at 32×32" in page
    assert f"Ours is `{TWICE}`" in page
    assert {path.name.split("-")[0] for path in Path("found").glob("*.png")} == {"tradeoff", "cost", "examples"}
    assert all(f"]({path.name})" in page for path in Path("found").glob("*.png"))


def test_measurements_are_continued_and_reported_again(run: Command, model: Path, no_figures: None) -> None:
    common = ("bench", "scenes", "--model", model, "--device", "cpu", "-o", "found", "--metric", "psnr", *BOTH)
    code, _, err = run(*common, "--limit", 2)
    assert (code, "without matplotlib there are no figures: pip install 'rnri[bench]'" in err) == (0, True)
    size = Path("found/edits.jsonl").stat().st_size
    assert run(*common, "--limit", 1)[1].startswith("0 new measurements")
    assert Path("found/edits.jsonl").stat().st_size == size
    assert run(*common, "--limit", 3)[1].startswith("4 new measurements")
    code, out, _ = run("bench", "report", "found", "--reference", ONCE, "--json")
    [table] = json.loads(out)["edits"]
    assert (code, table["pictures"], table["methods"][0]["method"]) == (0, 3, ONCE)
    assert f"Ours is `{ONCE}`" in Path("found/report.md").read_text()
    code, _, err = run("bench", "report", "found", "--reference", "sdedit")
    assert (code, "method 'sdedit' is not among those measured: unedited" in err) == (2, True)


def test_the_pictures_are_those_that_were_judged(run: Command, model: Path, no_figures: None) -> None:
    chosen = ("--method", ONCE, "--metric", "psnr", "--limit", 1)
    run("bench", "scenes", "--model", model, "--device", "cpu", "-o", "found", *chosen)
    edit, folder = measured(Path("found"))[0, ONCE], Path("found")
    from rnri.metrics import psnr

    picture, truth = images.read(folder / edit.picture), images.read(folder / "pictures/truth/0.png")
    assert psnr(picture, truth).item() == pytest.approx(edit.scores["psnr"], abs=1e-6)


SETS: Mapping[str, Callable[[Path], tuple[Path, ...]]] = {
    "pie": lambda root: (sets.pie(root),),
    "coco": sets.coco,
    "folder": lambda root: (sets.folder(root),),
}


@pytest.mark.parametrize("name", SETS)
def test_published_layouts_are_measured_and_reported(name: str, run: Command, model: Path, judges: Path) -> None:
    Path("set").mkdir()
    networks = ["--lpips", judges / "lpips"]
    if name != "coco":
        networks += ["--clip", judges / "clip", "--dino", judges / "dino"]
    command = ("bench", name, *SETS[name](Path("set")), "--model", model, "--device", "cpu", "-o", "found")
    code, out, err = run(*command, *networks, "--method", ONCE, "--limit", 1, "--json")
    assert code == 0, err
    [table] = json.loads(out)["edits"]
    assert (table["benchmark"], table["pictures"]) == (name, 1)
    assert table["judges"]
    for each in table["methods"]:
        for value in each["metrics"].values():
            assert value["n"] <= 1
            assert value["value"] is None or math.isfinite(value["value"])
    page = Path("found/report.md").read_text()
    expected = {"pie": "psnr_unedit_part dB ↑", "coco": "lpips-squeeze ×10³ ↓", "folder": "clip-edited ↑"}
    assert f"| {expected[name]} |" in page
    assert list(Path("found").glob("examples-*.png"))


def test_where_there_is_no_background_nothing_is_counted(run: Command, model: Path, no_figures: None) -> None:
    Path("set").mkdir()
    chosen = ("--metric", "psnr_unedit_part", "--metric", "mse-background", "--method", ONCE)
    code, _, err = run(
        "bench", "pie", sets.pie(Path("set")), "--model", model, "--device", "cpu", "-o", "found", *chosen
    )
    assert code == 0, err
    [table] = tables(EDITS.read(Path("found")))
    [row] = table.rows
    assert len(row.pictures) == 3
    assert {name: len(scores) for name, scores in row.scores.items()} == {"psnr_unedit_part": 2, "mse-background": 2}
    styles = [each for (key, _), each in measured(Path("found")).items() if str(key).startswith("9")]
    assert styles
    assert all(set(each.scores.values()) == {None} for each in styles)
    page = Path("found/report.md").read_text()
    assert page.count(", n = 2") == 6
    assert "nan" not in page


def test_a_killed_benchmark_goes_on_and_ends_as_if_it_had_not_been(
    run: Command, model: Path, tmp_path: Path, no_figures: None
) -> None:
    command = ["bench", "scenes", "--model", str(model), "--device", "cpu", "--limit", "4", "--metric", "psnr", *BOTH]
    environment = {**os.environ, "PYTHONPATH": str(Path(rnri.__file__).parents[1])}
    killed, whole, lines = tmp_path / "killed", tmp_path / "whole", tmp_path / "killed" / "edits.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "rnri", *command, "-o", str(killed)], env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not lines.is_file() or lines.read_bytes().count(b"\n") < 6:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = [line for line in lines.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert 6 <= len(before) < 17
    code, out, _ = run(*command, "-o", killed)
    assert code == 0
    assert out.startswith(f"{17 - len(before)} new measurements")
    assert lines.read_bytes().startswith(b"".join(before))
    assert run(*command, "-o", whole)[0] == 0
    one, other = measured(killed), measured(whole)
    assert list(one) == list(other)
    for key, edit in one.items():
        assert replace(edit, seconds=0.0) == replace(other[key], seconds=0.0)
        assert (killed / edit.picture).read_bytes() == (whole / edit.picture).read_bytes()


def test_settings_are_chosen_on_other_scenes_and_named_in_the_report(
    run: Command, model: Path, no_figures: None
) -> None:
    common = ("--model", model, "--device", "cpu", "--limit", 2)
    tried = ("inversion:iterations=1", "inversion:iterations=1,guidance=3.0")
    code, out, err = run("bench", "tune", *common, "-o", "tuned", "--method", tried[0], "--method", tried[1])
    assert code == 0, err
    choice = json.loads(Path("tuned/tuned.json").read_text())
    [table] = tables(EDITS.read(Path("tuned")))
    best = min(table.rows, key=lambda row: row.mean("reader-distance").value).method
    assert choice["methods"] == {"inversion": best}
    assert out.splitlines()[-1] == f"inversion  {best}"
    assert table.group.data.startswith("tuning edits")
    assert run("bench", "scenes", *common, "-o", "found", "--method", "inversion", "--tuned", "tuned")[0] == 0
    page = Path("found/report.md").read_text()
    assert f"`{best}`" in page
    assert "chosen by reader-distance on 2 tuning edits at 32×32" in page
    assert "Pictures: heldout edits" in page
    code, _, err = run("bench", "scenes", *common, "-o", "other", "--tuned", "nowhere")
    assert (code, "make one with 'rnri bench tune -o nowhere'" in err) == (2, True)


# The page, from lines that are known


def line(
    key: int, method: str, scores: Mapping[str, float | None], *, seed: int = 0, benchmark: str = "scenes"
) -> EditLine:
    setting = MethodSetting(benchmark, "some", "m", "f" * 12, method, seed, tuple(scores))
    measurement = EditMeasurement(
        kind=str(key % 2),
        source_prompt="a",
        target_prompt="b",
        scores=scores,
        picture="x",
        nfe=4,
        njvp=1,
        seconds=float(key),
    )
    return Line(key, setting, measurement, Run("now", "abacus", 1, "none", "3", {}))


def duel(ours: float, theirs: float, name: str) -> Table:
    lines = [line(key, "inversion", {name: ours + 0.01 * key}) for key in range(20)]
    lines += [line(key, "rival", {name: theirs + 0.01 * key + 0.001 * (key % 3)}) for key in range(20)]
    [table] = tables(lines)
    return table


@pytest.mark.parametrize(("name", "won"), [("psnr", True), ("reader-distance", False)])
def test_better_is_what_the_metric_says(name: str, won: bool) -> None:
    table = duel(2.0, 1.0, name)
    [found] = table.duels
    assert (found.rival, found.won, found.difference.pairs) == ("rival", won, 20)
    assert found.p < 0.001
    assert table.best(name) == ("inversion" if won else "rival")
    page = markdown([table], {})
    assert ("ours is better" if won else "the rival is better") in page
    assert summary([table])[0]["against_best_rival"][0]["won"] is won


def test_methods_are_compared_on_the_pictures_that_all_have() -> None:
    lines = [line(key, "inversion", {"psnr": 10.0 * (key + 1)}) for key in range(4)]
    lines += [line(key, "rival", {"psnr": 5.0}) for key in (1, 2)]
    [table] = tables(lines)
    assert table.common == [1, 2]
    assert table.rows[0].mean("psnr").value == 25
    assert "2 of them, the ones of 4 that every method has" in markdown([table], {})


def test_seeds_of_a_picture_are_one_number() -> None:
    lines = [line(0, "inversion", {"psnr": value}, seed=seed) for seed, value in enumerate((1.0, 3.0))]
    [table] = tables([*lines, line(1, "inversion", {"psnr": None})])
    assert table.rows[0].scores == {"psnr": {0: 2.0}}
    assert table.rows[0].mean("psnr").value == 2
    assert (table.rows[0].calls, table.rows[0].nfe) == (6, 4)


def test_there_must_be_something_to_report(run: Command) -> None:
    with pytest.raises(ValueError, match="nothing to report"):
        tables([])
    with pytest.raises(ValueError, match="nothing to report"):
        tables([line(0, "unedited", {"psnr": 1.0})])
    with pytest.raises(ValueError, match="benchmark 'beauty' is not known"):
        tables([line(0, "inversion", {"psnr": 1.0}, benchmark="beauty")])
    code, _, err = run("bench", "report", "nowhere")
    assert (code, "nowhere holds no measurements: make some with 'rnri bench scenes" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "magic"), "no method is called 'magic'"),
        (("--method", ONCE, "--method", ONCE), "is given twice"),
        (("--metric", "beauty"), "no metric is called 'beauty'"),
        (("--metric", "lpips-alex", "--lpips", "nowhere"), "fetch it with 'rnri bench fetch lpips-alex'"),
        (("--limit", "0"), "--limit 0 is not accepted"),
        (("--seed", "x"), "--seed x is not accepted: give a whole number"),
        (("-o", "picture.png"), "picture.png is a file"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    run: Command, model: Path, arguments: tuple[str, ...], says: str
) -> None:
    file = sets.folder(Path.cwd())
    code, out, err = run("bench", "folder", file, "-o", "found", "--model", model, "--device", "cpu", *arguments)
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert not Path("found").exists()


def test_a_picture_that_cannot_be_read_stops_it_with_one_line(run: Command, model: Path) -> None:
    file = sets.folder(Path.cwd())
    Image.new("L", (3, 3)).save("mask-0.png")
    code, _, err = run("bench", "folder", file, "-o", "found", "--model", model, "--metric", "mse-background")
    assert (code, "mask-0.png is 3×3 and its picture 32×32" in err.splitlines()[-1]) == (2, True)


def test_every_benchmark_names_metrics_that_there_are() -> None:
    from rnri.evaluation.datasets import DATASETS

    for dataset in DATASETS.values():
        axes = {dataset.keep, dataset.pixels, dataset.rank} | ({dataset.goal} if dataset.goal else set())
        assert axes <= set(dataset.metrics) <= set(METRICS)


def test_every_setting_that_is_tried_can_be_made() -> None:
    specs = candidates()
    assert len(set(specs)) == len(specs)
    assert {type(method(spec)) for spec in specs} == set(METHODS.values())


def test_methods_that_the_model_cannot_serve_are_left_out(
    run: Command, model: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    monkeypatch.setattr("rnri.baselines.METHODS", {name: METHODS[name] for name in ("sdedit", "flowedit")})
    code, out, err = run("bench", "scenes", "--model", model, "--device", "cpu", "--limit", 1, "-o", "found")
    assert (code, out.splitlines()[0]) == (0, "3 new measurements")
    assert "warning: left out: flowedit: flowedit is for rectified flows" in err
    assert {name for _, name in measured(Path("found"))} == {"unedited", "autoencoded", "sdedit"}
    monkeypatch.setattr(
        "rnri.evaluation.edits.tuning.METHODS", {name: METHODS[name] for name in ("sdedit", "flowedit")}
    )
    monkeypatch.setattr("rnri.evaluation.edits.tuning.GRIDS", {"sdedit": {"strength": ("0.5",)}})
    assert run("bench", "tune", "--model", model, "--device", "cpu", "--limit", 1, "-o", "tuned")[0] == 0
    assert json.loads(Path("tuned/tuned.json").read_text())["methods"] == {"sdedit": "sdedit:strength=0.5"}


def test_a_method_may_be_given_each_edits_own_mask(run: Command, model: Path, no_figures: None) -> None:
    bare = "inversion:inverter=explicit"  # without corrections, which would keep everything with or without a mask
    masked = f"{bare},controls='mask:mask={{mask}},blur=0'"
    chosen = ("--method", bare, "--method", masked, "--metric", "psnr-background")
    code, _, err = run("bench", "scenes", "--model", model, "--device", "cpu", "--limit", 3, "-o", "found", *chosen)
    assert code == 0, err
    [table] = tables(EDITS.read(Path("found")))
    plain, kept = (row.mean("psnr-background").value for row in table.rows)
    assert kept != plain
    for key in table.common:
        mask = images.read(f"found/pictures/mask/{key}.png")
        assert set(mask.flatten().tolist()) <= {-1.0, 1.0}


def test_other_networks_make_another_setting(model: Path, tmp_path: Path) -> None:
    from rnri.editing.editor import Editor
    from rnri.evaluation.datasets.scenes import Scenes

    editor, edits = Editor.from_pretrained(str(model), device="cpu"), Scenes("heldout", 1, 32)
    usual, other = (
        Edits(editor, edits, networks, tmp_path).settings([ONCE], "m", metrics=["psnr"])[-1]
        for networks in (Networks(device=torch.device("cpu")), Networks(clip_source="mine"))
    )
    assert usual.judges == ()
    assert other.judges == ("clip_source=mine",)
    assert usual.folder != other.folder
