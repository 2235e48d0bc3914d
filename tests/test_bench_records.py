"""Measurements on disk: a grid that survives being killed, and lines typed when they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rnri_core.errors import RnriError

from rnri.evaluation.edits.run import EDITS
from rnri.evaluation.records import Records, Run, from_json, to_json
from rnri.evaluation.solvers.convergence import CONVERGENCE

ABOUT = Run("now", "abacus", 1, "none", "3", {})


@dataclass(frozen=True)
class Setup:
    power: int


@dataclass(frozen=True)
class Outcome:
    value: float
    history: list[float]


def outcomes(setup: Setup, images: Sequence[int]) -> list[Outcome]:
    return [Outcome(float(image**setup.power), [math.inf, math.nan, 1.0]) for image in images]


SETUPS = [Setup(1), Setup(2)]
LINES = Records("lines.jsonl", Setup, Outcome)


def test_every_picture_and_configuration_gets_a_line(tmp_path: Path) -> None:
    progress = list[tuple[int, int]]()
    noting = lambda *at: progress.append(at)  # noqa: E731
    assert LINES.extend(tmp_path, ABOUT, range(5), SETUPS, outcomes, batch=2, progress=noting) == 10
    assert progress == [(2, 10), (4, 10), (6, 10), (8, 10), (9, 10), (10, 10)]
    lines = LINES.read(tmp_path)
    assert [(line.image, line.configuration.power) for line in lines[:4]] == [(0, 1), (1, 1), (0, 2), (1, 2)]
    assert all(line.measurement.value == line.image**line.configuration.power for line in lines)  # type: ignore[operator]
    assert lines[0].measurement.history == [math.inf, math.inf, 1.0]  # JSON has no other number for what is not finite
    assert lines[0].run == ABOUT


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    left = [4]

    def dying(setup: Setup, images: Sequence[int]) -> list[Outcome]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return outcomes(setup, images)

    with pytest.raises(KeyboardInterrupt):
        LINES.extend(killed, ABOUT, range(5), SETUPS, dying)
    assert len(LINES.read(killed)) == 4
    with (killed / LINES.file).open("ab") as file:
        file.write(b'{"image": 2, "configuration": {"pow')  # killed within a line
    measured = list[tuple[int, int]]()

    def noting(setup: Setup, images: Sequence[int]) -> list[Outcome]:
        measured.extend((image, setup.power) for image in images)
        return outcomes(setup, images)

    another = Run("later", "another", 1, "none", "3", {})
    assert LINES.extend(killed, another, range(5), SETUPS, noting, batch=3) == 6
    assert len(set(measured)) == len(measured) == 6
    LINES.extend(whole, ABOUT, range(5), SETUPS, outcomes)
    both = [{(line.image, line.configuration): line.measurement for line in LINES.read(p)} for p in (killed, whole)]
    assert both[0] == both[1]
    assert [line.run.device for line in LINES.read(killed)] == ["abacus"] * 4 + ["another"] * 6
    size = (killed / LINES.file).stat().st_size
    assert LINES.extend(killed, ABOUT, range(5), SETUPS, outcomes) == 0
    assert (killed / LINES.file).stat().st_size == size


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    def meddling(setup: Setup, images: Sequence[int]) -> list[Outcome]:
        with pytest.raises(ValueError, match=r"another run is writing .*lines.jsonl"):
            LINES.extend(tmp_path, ABOUT, range(2), SETUPS, outcomes)
        return outcomes(setup, images)

    assert LINES.extend(tmp_path, ABOUT, range(2), SETUPS, meddling) == 4
    assert LINES.extend(tmp_path, ABOUT, range(2), SETUPS, outcomes) == 0


def test_a_picture_that_fails_is_left_to_a_later_run(tmp_path: Path) -> None:
    def failing(setup: Setup, images: Sequence[int]) -> list[Outcome]:
        if images[0] == 1:
            raise RnriError(f"picture {images[0]} is damaged")
        return outcomes(setup, images)

    failures = list[RnriError]()
    assert LINES.extend(tmp_path, ABOUT, range(3), SETUPS, failing, failed=failures.append) == 4
    assert [str(each) for each in failures] == ["picture 1 is damaged"] * 2
    with pytest.raises(RnriError, match="picture 1 is damaged"):
        LINES.extend(tmp_path, ABOUT, range(3), SETUPS, failing)
    assert LINES.extend(tmp_path, ABOUT, range(3), SETUPS, outcomes) == 2


GOOD = {"image": 1, "configuration": {"power": 1}, "measurement": {"value": 1.0, "history": []}}


@pytest.mark.parametrize(
    "record",
    [
        "nonsense",
        '{"image": 1}',
        "[1]",
        '{"run": 1, "image": 2}',
        json.dumps(GOOD | {"configuration": {"power": "one"}}),
        json.dumps(GOOD | {"configuration": {}}),
        json.dumps(GOOD | {"measurement": {"value": 1.0, "history": [], "added": 1}}),
        json.dumps(GOOD | {"measurement": {"value": 1.0, "history": 1.0}}),
    ],
)
def test_a_line_of_something_else_or_of_another_version_is_refused(tmp_path: Path, record: str) -> None:
    (tmp_path / LINES.file).write_text(f"{to_json({'run': asdict(ABOUT)})}\n{json.dumps(GOOD)}\n{record}\n")
    refusal = r"lines.jsonl, line 3, is not a measurement of this version: give another directory, or delete the line$"
    with pytest.raises(ValueError, match=refusal):
        LINES.extend(tmp_path, ABOUT, range(2), SETUPS, outcomes)


V1_EDIT: dict[str, Any] = {
    "image": "7",
    "configuration": {"benchmark": "pie", "data": "PIE", "model": "m", "fingerprint": "f", "method": "inversion"}
    | {"seed": 0, "metrics": ["psnr", "clip"], "judges": []},
    "measurement": {"kind": "1 change object", "source_prompt": "a", "target_prompt": "b", "scores": {"psnr": 20.5}}
    | {"nfe": 8, "njvp": 0, "nvjp": 0, "seconds": 0.5, "residual": None, "status": "BUDGET", "picture": "x.png"},
}
V1_SOLVER: dict[str, Any] = {
    "image": 3,
    "configuration": {"model": "scenes", "fingerprint": "f", "steps": 2, "calls": 8, "solver": "gnri"}
    | {"way": "published", "correct": False, "guidance": 1.0, "split": "heldout", "seed": 0},
    "measurement": {
        "kind": "add",
        "local": True,
        "plan": [2, 2],
        "status": ["BUDGET"] * 2,
        "residuals": [[1.0], [None]],
    }
    | {"cost": dict.fromkeys(("nfe", "njvp", "nvjp", "calls", "batch"), 1)}
    | {"residual": [1, None]}
    | dict.fromkeys(("latent_rmse", "psnr_db", "bound_db", "noise_length", "noise_kurtosis", "noise_correlation"), 1.0)
    | dict.fromkeys(("edit_rmse", "edit_psnr_db", "unedited_rmse", "unedited_psnr_db"), 1.0),
}
V1_SOLVER["measurement"]["cost"] |= {"seconds": 1.0, "overhead": None, "memory_mb": None}
V1_RUN = {
    "started": "2026",
    "device": "cpu",
    "threads": 1,
    "system": "Linux",
    "python": "3",
    "versions": {"rnri": "0.1"},
}


def test_lines_of_version_0_1_are_read(tmp_path: Path) -> None:
    for records, line, run in ((EDITS, V1_EDIT, V1_RUN | {"tuned": "by psnr"}), (CONVERGENCE, V1_SOLVER, V1_RUN)):
        (tmp_path / records.file).write_text(f"{json.dumps({'run': run})}\n{json.dumps(line)}\n")
    [edit], [inversion] = EDITS.read(tmp_path), CONVERGENCE.read(tmp_path)
    assert (edit.image, edit.run.tuned, inversion.run.tuned) == ("7", "by psnr", None)
    assert edit.configuration.metrics == ("psnr", "clip")
    assert (edit.measurement.calls, edit.measurement.residual) == (8, None)
    assert (inversion.configuration.method, inversion.measurement.cost.overhead) == ("gnri", None)
    assert (inversion.measurement.residual, inversion.measurement.residuals) == ([1.0, math.inf], [[1.0], [math.inf]])


def test_a_setting_that_was_written_is_the_setting_that_is_read(tmp_path: Path) -> None:
    setting = from_json(EDITS.configuration, V1_EDIT["configuration"])
    measurement = from_json(EDITS.measurement, V1_EDIT["measurement"])
    assert EDITS.extend(tmp_path, ABOUT, ["a"], [setting], lambda *_: [measurement]) == 1
    assert EDITS.extend(tmp_path, ABOUT, ["a"], [setting], lambda *_: [measurement]) == 0
    [line] = EDITS.read(tmp_path)
    assert (line.configuration, line.measurement) == (setting, measurement)


def test_hardware_and_versions_are_recorded() -> None:
    run = json.loads(to_json(Run.of(torch.device("cpu"))))
    assert run["device"].startswith("cpu, ")
    assert run["versions"]["torch"] == torch.__version__
