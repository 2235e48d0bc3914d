"""The command line through its own entry point: what it prints and writes, and who watches."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from rnri_core.inversion.config import MAX_GUIDANCE, MAX_SEED, InversionConfig
from rnri_core.inversion.inversion import Inversion
from rnri_core.solvers import WRAPPERS

import rnri
from rnri import images, models
from rnri.cli import options, outputs, screen
from rnri.editing.editor import Editor
from rnri.models.base import MAX_SIDE
from tests import tiny
from tests.conftest import SOURCE, TARGET, Run

OTHER = "a small green cube"
KEYS = ["model", "inverter", "steps", "image_size", "source", "source_guidance", "status", "residual", "nfe", "njvp"]
KEYS += ["nvjp", "seconds", "psnr_db", "outputs", "versions"]


def same(one: str | Path, other: str | Path) -> bool:
    with Image.open(one) as a, Image.open(other) as b:
        return a.size == b.size and a.tobytes() == b.tobytes()


# --- what the commands do ---------------------------------------------------------------------------------------


def test_edit_says_all_in_one_object(edit: Run, model: Path) -> None:
    code, out, err = edit(
        "--json", "--inverter", "fixed-point", "--iterations", "9,3", "--tol", "1e-9", "-o", "out.webp"
    )
    assert code == 0
    told = json.loads(out)
    assert list(told) == KEYS
    assert out == json.dumps(told) + "\n"
    assert (told["model"], told["inverter"], told["steps"]) == (str(model), "fixed-point", 4)
    assert told["image_size"] == [30, 20]
    assert (told["status"], told["nfe"], told["njvp"], told["nvjp"]) == ("MAX_ITER", 18, 0, 0)
    assert 0 < told["residual"] < 0.1
    assert list(told["seconds"]) == ["load", "encode", "invert", "edit", "decode"]
    assert all(seconds > 0 for seconds in told["seconds"].values())
    assert list(told["psnr_db"]) == ["reconstruction", "autoencoder_bound"]
    assert told["psnr_db"]["reconstruction"] == pytest.approx(told["psnr_db"]["autoencoder_bound"], abs=0.5)
    assert told["outputs"] == ["out.webp"]
    assert told["versions"]["rnri"] == rnri.__version__
    assert told["versions"]["torch"] == torch.__version__
    with Image.open("out.webp") as picture:
        assert (picture.format, picture.size, picture.mode) == ("WEBP", (30, 20), "RGB")
    assert err.splitlines()[:3] == [f"loading {model} …", "inverting …", "editing …"]
    assert "rnri: warning: the inversion ended MAX_ITER at residual" in err
    assert "raise --iterations or change the --inverter" in err


def test_edit_says_the_same_to_people(edit: Run, model: Path) -> None:
    code, out, _ = edit()
    assert code == 0
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines()}
    assert lines["model"] == f"{model}, 4 steps"
    assert lines["picture"] == "30×20 pixels"
    assert lines["inverter"] == "barzilai-borwein"
    assert lines["status"].startswith("FIXED_BUDGET, residual ")
    assert lines["calls"] == "8 NFE"
    assert "dB of the autoencoder's" in lines["PSNR"]
    assert lines["written"] == "picture-edited.png"
    assert Path("picture-edited.png").exists()


def test_several_targets_get_numbered_names_and_a_sheet(edit: Run) -> None:
    code, out, _ = edit("--target", OTHER, "-o", "a.b.png", "--sheet", "sheet.jpg", "--size", "40x50", "--json")
    assert code == 0
    assert json.loads(out)["outputs"] == ["a.b-1.png", "a.b-2.png", "sheet.jpg"]
    assert not same("a.b-1.png", "a.b-2.png")
    with Image.open("a.b-1.png") as picture, Image.open("sheet.jpg") as sheet:
        assert picture.size == (40, 50)
        assert sheet.width > 4 * 256
    assert not Path("a.b.png").exists()


def test_an_edit_of_a_stored_inversion_is_that_of_the_picture(edit: Run, run: Run, model: Path) -> None:
    how = ("--inverter", "anderson:memory=2", "--iterations", 3, "--strength", 0.5, "--seed", 3, "--noise-maps")
    code, out, _ = run(
        "invert", "picture.png", "--prompt", SOURCE, "-o", "way.safetensors", "--model", model, *how, "--json"
    )
    assert code == 0
    stored = json.loads(out)
    assert list(stored) == KEYS
    assert (stored["outputs"], stored["steps"]) == (["way.safetensors"], 2)
    assert stored["seconds"]["edit"] == 0

    code, out, _ = run("edit", "way.safetensors", "--target", TARGET, "--model", model, "-o", "stored.png", "--json")
    assert code == 0
    told = json.loads(out)
    assert list(told) == KEYS
    assert told["psnr_db"] == {"reconstruction": None, "autoencoder_bound": None}
    assert all(
        told[key] == stored[key] for key in ("inverter", "steps", "image_size", "status", "residual", "nfe", "versions")
    )
    assert edit(*how, "-o", "fresh.png")[0] == 0
    assert same("stored.png", "fresh.png")

    code, out, _ = run("edit", "way.safetensors", "--target", TARGET, "--model", model, "--sheet", "sheet.png")
    assert (code, Path("way-edited.png").exists(), Path("sheet.png").exists()) == (0, True, True)
    assert "PSNR" not in out


def test_options_reach_the_editor(edit: Run, model: Path) -> None:
    assert edit("-o", "out.png", "--guidance", 3, "--negative", OTHER, "--steps", 3, "--seed", 5)[0] == 0
    editor = Editor.from_pretrained(model, device="cpu")
    found = editor.invert("picture.png", SOURCE, steps=3, seed=5)
    editor.edit(found, TARGET, guidance=3.0, negative=OTHER).picture.save("expected.png")
    assert same("out.png", "expected.png")


def test_the_network_works_at_a_resolution_of_its_own(edit: Run, run: Run, model: Path) -> None:
    assert edit("-o", "out.png", "--resolution", "48x24")[0] == 0
    how = ("--prompt", SOURCE, "--model", model, "--resolution", "48x24", "-o", "way.safetensors")
    assert run("invert", "picture.png", *how)[0] == 0
    assert Inversion.load("way.safetensors").noise.shape == (1, 4, 24 // tiny.FACTOR, 48 // tiny.FACTOR)
    editor = Editor.from_pretrained(model, device="cpu")
    edited = editor.edit(editor.invert("picture.png", SOURCE, resolution=(48, 24)), TARGET).picture
    assert edited.size == (30, 20)
    edited.save("expected.png")
    assert same("out.png", "expected.png")


def test_an_inversion_and_its_edit_are_guided_each_by_its_own(edit: Run, run: Run, model: Path) -> None:
    code, out, err = edit("-o", "out.png", "--source-guidance", 1.5, "--guidance", 3, "--json")
    assert (code, json.loads(out)["source_guidance"]) == (0, 1.5), err
    how = ("--prompt", SOURCE, "--model", model, "--source-guidance", 1.5, "-o", "way.safetensors")
    assert run("invert", "picture.png", *how)[0] == 0
    assert Inversion.load("way.safetensors").guidance == 1.5
    how = ("--target", TARGET, "--model", model, "--guidance", 3, "-o", "stored.png")
    assert run("edit", "way.safetensors", *how)[0] == 0
    editor = Editor.from_pretrained(model, device="cpu")
    editor.edit(editor.invert("picture.png", SOURCE, guidance=1.5), TARGET, guidance=3.0).picture.save("expected.png")
    assert same("out.png", "expected.png")
    assert same("stored.png", "expected.png")


def test_force_overwrites(edit: Run) -> None:
    Path("out.png").write_bytes(b"mine")
    assert edit("-o", "out.png", "--force")[0] == 0
    with Image.open("out.png") as picture:
        assert picture.size == (30, 20)


def test_generated_pictures_are_named_after_their_seeds(run: Run, model: Path) -> None:
    how = ("--model", model, "--steps", 2, "--guidance", 2)
    code, out, err = run("generate", TARGET, "-n", 3, "-o", "new/dir", "--seed", 7, *how)
    assert code == 0
    assert sorted(path.name for path in Path("new/dir").iterdir()) == ["seed-7.png", "seed-8.png", "seed-9.png"]
    assert "new/dir/seed-9.png" in out
    assert "sampling seed-8.png" in err
    assert run("generate", TARGET, "-n", 1, "-o", "other", "--seed", 8, "--size", "32x32", *how)[0] == 0
    assert same("other/seed-8.png", "new/dir/seed-8.png")
    assert not same("new/dir/seed-7.png", "new/dir/seed-8.png")


def test_the_demo_writes_a_sheet_and_a_table(run: Run, model: Path) -> None:
    for _ in range(2):  # it overwrites its own
        code, out, err = run("demo", "--model", model, "--inverter", "fixed-point", "--guidance", 2)
        assert code == 0
    names = ["original", "reconstruction", "colour", "shape", "light", "sheet"]
    assert {path.name for path in Path("demo").iterdir()} == {f"{name}.png" for name in names}
    with Image.open("demo/sheet.png") as sheet, Image.open("demo/original.png") as original:
        assert sheet.width > 5 * 256
        assert original.size == (128, 128)
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["seconds", "calls", "residual", "PSNR", "dB"]
    assert [row[0] for row in rows[1:7]] == ["autoencoder", "inversion", "reconstruction", "colour", "shape", "light"]
    assert rows[2][2:4] == ["8", "NFE"]
    assert rows[4][2:4] == ["8", "NFE"]  # four steps, each with and without the prompt
    assert rows[-1] == ["sheet", "demo/sheet.png"]
    assert "rnri: warning: the prompt is longer than the 10 tokens" in err


def test_the_demo_does_not_overwrite_what_is_not_its_own(run: Run, model: Path) -> None:
    Path("mine").mkdir()
    Path("mine/sheet.png").write_bytes(b"mine")
    code, _, err = run("demo", "--model", model, "-o", "mine")
    assert (code, err) == (2, "rnri: mine/sheet.png exists: choose another name, or overwrite it with --force\n")


def test_models_and_solvers_are_listed(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:3]] == list(models.EMBEDDED)
    code, out, err = run("models", "--families")
    assert (code, err) == (0, "")
    assert all(f"  {pipeline}  " in line for pipeline, line in zip(models.MODELS, out.splitlines()[1:], strict=True))
    code, out, err = run("solvers")
    assert (code, err) == (0, "")
    names = [line for line in out.splitlines() if line and not line.startswith(" ")][:-2]
    assert names == [*rnri.list_solvers(), *(f"+{name}" for name in WRAPPERS)]
    assert "    eta=0.1" in out
    assert "Samuel et al., ICLR 2025, Eq. 9 and 10" in out
    assert "effective | dense" in out


def test_versions_and_help(run: Run) -> None:
    assert run("--version") == (0, f"rnri {rnri.__version__}\n", "")
    for arguments in ([], ["--help"]):
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        for command in ("demo", "edit", "invert", "generate", "models", "solvers", "bench"):
            assert f"\n  {command} " in out


def test_help_and_mistakes_are_told_without_torch() -> None:
    code = (
        "import sys; from rnri.cli import main; edit = ['edit', 'x.png', '--target', 'x'];"
        "print(main(['edit', '--help']), main(edit), main([*edit, '--source', 'y', '--seed', '-1']));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["0 2 2", "False"]
    assert "--sheet FILE" in done.stdout


def test_what_is_documented_as_default_is(run: Run) -> None:
    known = {each.name: each.default for each in fields(InversionConfig)}
    assert known == {
        "inverter": "auto", "iterations": None, "strength": 1.0, "seed": 0, "noise_maps": None, "tol": None,
        "steps": None, "guidance": None, "calls": None, "init": None, "resolution": None,
    }  # fmt: skip
    assert (options.MAX_GUIDANCE, options.MAX_SEED, options.MAX_SIDE) == (MAX_GUIDANCE, MAX_SEED, MAX_SIDE)
    assert set(outputs.PICTURES) == set(images.FORMATS)


def test_the_embedded_models_are_measured(run: Run, model: Path) -> None:
    code, out, err = run("bench", "embedded", "--model", model, "--limit", 2, "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["limit"], told["models"][0]["model"]) == (2, str(model))
    assert "generation 2 of 2 …" in err


# --- who watches ------------------------------------------------------------------------------------------------


def test_a_terminal_gets_a_ruled_table_and_a_spinner(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, told = io.StringIO(), io.StringIO()
    monkeypatch.setattr(screen, "_out", Console(file=shown, force_terminal=True, width=60))
    monkeypatch.setattr(screen, "_err", Console(file=told, force_terminal=True, width=60))
    screen.table(("what", "dB"), [("[a]", "1.0"), ("b", "12.0")])
    assert "┃" in shown.getvalue()
    assert "[a]" in shown.getvalue()
    with screen.progress() as tell:
        tell("inverting")
        time.sleep(0.2)
    assert "inverting …" in told.getvalue()


def test_nobody_watching_gets_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table(("what", "dB"), [("[a]", "1.0"), ("b", "12.0")])
    assert capsys.readouterr().out == "what    dB\n[a]    1.0\nb     12.0\n"


def test_warnings_are_one_line_each_and_said_once(edit: Run) -> None:
    code, out, err = edit("--target", "a red ninja " * 5 + "at a hut", "--json")
    assert code == 0
    assert json.loads(out)
    warned = [line for line in err.splitlines() if line.startswith("rnri: warning: ")]
    assert len(warned) == 2
    assert "was cut:" in warned[0]
    assert "does not know ninja, at, hut; it knows a, ball, blue" in warned[1]


def test_a_network_that_breaks_is_said_and_still_shown(edit: Run, model: Path, tmp_path: Path) -> None:
    pipe = tiny.pipeline()
    pipe.unet.conv_out.bias.data.fill_(float("nan"))
    broken = tiny.save(pipe, tmp_path / "broken")
    code, out, err = edit("--model", broken, "--steps", 4, "--sheet", "sheet.png", "-o", "out.png", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["status"], told["residual"]) == ("DIVERGED", None)
    assert "rnri: warning: the inversion ended DIVERGED at residual not finite: the residual exploded" in err
    assert Path("out.png").exists()
    assert Path("sheet.png").exists()
    code, out, _ = edit("--model", broken, "--steps", 4, "-o", "other.png")
    assert (code, "DIVERGED, residual not finite" in out) == (0, True)


@pytest.mark.parametrize("command", ["solvers", "--help"])
def test_a_reader_that_leaves_early_is_no_error(command: str) -> None:
    shell = f"{sys.executable} -m rnri {command} | true"
    done = subprocess.run(shell, shell=True, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


# --- with the embedded weights ----------------------------------------------------------------------------------


def test_the_demo_is_the_main_job(run: Run) -> None:
    code, out, err = run("demo", "-o", "demo")
    assert code == 0
    assert "warning" not in err
    decibels = {
        row.split()[0]: float(row.split()[-1]) for row in out.splitlines()[1:7] if row.split()[0] != "inversion"
    }
    assert decibels["reconstruction"] > decibels["autoencoder"] - 6
    assert min(decibels[name] for name in ("colour", "shape", "light")) > 15
    assert Path("demo/sheet.png").exists()


def test_a_word_the_embedded_model_does_not_know_is_named(run: Run) -> None:
    prompt = "a large red metal robot on the left, on sand, by day"
    code, _, err = run("generate", prompt, "-n", 1, "-o", "new", "--steps", 1)
    assert code == 0
    assert "rnri: warning: scenes-turbo does not know robot; it knows a, an, and, art, " in err
    assert Path("new/seed-0.png").exists()
