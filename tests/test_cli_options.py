"""Options named as the fields of configs, old names, exit codes, the log, and tables without torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from rnri_core.errors import RnriError
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.implicit import INITS
from typer.main import get_command

from rnri.cli import catalog, sources
from rnri.cli.app import app
from rnri.cli.groups import naming, option_names
from rnri.cli.options import EditOptions, InversionOptions
from rnri.editing.config import EditConfig
from tests import sets
from tests.conftest import SOURCE, TARGET, Run

RENAMED = {
    "--solver": "--inverter",
    "--budget": "--iterations",
    "--residual-correction": "--noise-maps",
    "--no-residual-correction": "--no-noise-maps",
    "--way": "--animation",
}


def commands(command: Any = None) -> list[Any]:
    """Every command that is no group."""
    command = command or get_command(app)
    inner = getattr(command, "commands", {}).values()
    return [each for group in inner for each in commands(group)] if inner else [command]


def test_every_field_of_a_config_is_an_option() -> None:
    assert list(option_names(InversionOptions())) == [each.name for each in fields(InversionConfig)]
    assert {each.name for each in fields(EditConfig)} <= set(option_names(EditOptions()))
    assert set(get_args(get_args(get_type_hints(InversionOptions)["init"])[0])) == set(INITS)


def test_an_error_names_the_option_instead_of_the_field() -> None:
    with (
        pytest.raises(RnriError, match=r"^--source-guidance 1\.5 is not had: none$") as caught,
        naming(InversionOptions()),
    ):
        raise RnriError("guidance=1.5 is not had", hint="none", field="guidance")
    assert caught.value.field == "--source-guidance"
    with pytest.raises(RnriError, match=r"^guidance is not had$"), naming(EditOptions()):
        raise RnriError("guidance is not had")


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_hidden_and_works_with_a_warning(run: Run, old: str) -> None:
    value = {"--solver": ["x"], "--budget": ["1"], "--way": ["way.gif"]}.get(old, [])
    code, _, err = run("edit", "missing.png", "--source", "a", "--target", "b", old, *value)
    assert (code, err.splitlines()[0]) == (2, f"rnri: warning: {old} is now {RENAMED[old]}; the old name goes in 0.3")
    _, out, _ = run("edit", "--help")
    assert f"{old} " not in out
    assert RENAMED[old] in out


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_every_option_has_a_help_text(command: Any) -> None:
    assert [param.name for param in command.params if not param.help] == []


@pytest.mark.parametrize("arguments", ["solvers", "controls", "methods", "models", "models --families", "--help"])
def test_tables_are_shown_without_torch(arguments: str) -> None:
    code = f"import sys; from rnri.cli import main; main({arguments.split()!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert len(done.stdout.splitlines()) > 5


def test_the_catalog_is_that_of_the_registries() -> None:
    assert json.loads(catalog.PATH.read_text()) == catalog.build(), "run 'python docs/make_catalog.py'"


# --- exit codes -------------------------------------------------------------------------------------------------


def test_what_is_done_is_0(run: Run) -> None:
    assert run("models")[0] == 0


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RuntimeError("no such tensor"), 1, r"rnri: a fault of rnri, .*\(RuntimeError: no such tensor\): report it .*"),
        (TypeError("of ours"), 1, r"rnri: a fault of rnri, .*"),
        (RnriError("a=1", hint="give 2", field="a"), 2, "rnri: a=1: give 2"),
        (PermissionError(13, "Permission denied", "a.png"), 2, r"rnri: a\.png: Permission denied; check the path .*"),
        (KeyboardInterrupt(), 130, "rnri: interrupted"),
    ],
)
def test_a_failure_is_one_line_and_a_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(sources, "read_image", fail)
    got, out, err = run("edit", "picture.png", "--source", SOURCE, "--target", TARGET)
    assert (got, out) == (code, "")
    assert re.fullmatch(line, err.strip())


def test_rows_that_fail_leave_the_others_and_a_code_of_their_own(run: Run, model: Path) -> None:
    file = sets.folder(Path.cwd())
    Path("1.png").write_bytes(b"no image")
    common = ("bench", "folder", file, "-o", "found", "--model", model, "--device", "cpu", "--metric", "mse-background")
    code, out, err = run(*common, "--method", "inversion:iterations=1")
    assert code == 3
    assert "rnri: error: failed: " in err
    assert "1.png is not a PNG, JPEG or WebP image" in err
    assert out.endswith("found/report.md\n")
    lines = Path("found/edits.jsonl").read_text().splitlines()
    images = {record["image"] for record in map(json.loads, lines) if "image" in record}
    assert len(images) == 2
    again, _, err = run(*common, "--method", "inversion:iterations=1")  # of what is left every row fails
    assert (again, "1.png is not a PNG" in err.splitlines()[-1]) == (2, True)


# --- the log ----------------------------------------------------------------------------------------------------


def test_the_log_has_three_levels(run: Run) -> None:
    command = ("edit", "missing.png", "--source", SOURCE, "--target", TARGET)
    quiet, loud = run(*command)[2], run("-vv", *command)[2]
    assert quiet == "rnri: missing.png does not exist: check the path\n"
    assert loud.startswith("rnri: debug: the command failed\nTraceback ")
    assert loud.endswith(quiet)


def test_verbose_shows_what_ran(run: Run, model: Path) -> None:
    command = ("invert", "picture.png", "--prompt", SOURCE, "--model", model, "-o", "found.safetensors")
    assert "rnri: info: inverter barzilai-borwein, 8 network evaluations" in run("--verbose", *command)[2]
    assert "info" not in run(*command, "--force")[2]
