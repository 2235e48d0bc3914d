"""What the command line refuses: one line with the value and the cure, exit code 2, nothing written."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.conftest import SOURCE, TARGET, Run

OTHER = "a small green cube"


def there(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def bomb() -> bytes:
    """A small PNG that says it has ten billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


FILES: dict[str, Callable[[], bytes]] = {
    "text.png": lambda: b"this is no picture",
    "short.png": lambda: Path("picture.png").read_bytes()[:200],
    "empty.png": lambda: b"",
    "bomb.png": bomb,
    "taken.png": lambda: b"mine",
    "text.safetensors": lambda: b"this is no inversion",
    "empty.safetensors": lambda: b"",
}

EDIT = "edit picture.png --target T"
WORDS = {"S": SOURCE, "T": TARGET, "EMPTY": " "}
BAD: list[tuple[str, str]] = [
    # the picture
    ("edit missing.png --source S --target T", "missing.png does not exist: check the path"),
    ("edit . --source S --target T", ". is a directory: give one image file"),
    ("edit text.png --source S --target T", "text.png is not a PNG, JPEG or WebP image: convert it to one of these"),
    ("edit short.png --source S --target T", "short.png is truncated or damaged (…): get a whole copy of it"),
    ("edit empty.png --source S --target T", "empty.png is empty (0 bytes): give a PNG, JPEG or WebP image"),
    ("edit bomb.png --source S --target T", "bomb.png has over 89,478,485 pixels: scale it down first"),
    ("invert missing.png --prompt S -o x.safetensors", "missing.png does not exist: check the path"),
    # the stored inversion
    (
        "edit none.safetensors --target T",
        "none.safetensors does not exist: check the path, or make it with 'rnri invert'",
    ),
    ("edit text.safetensors --target T", "text.safetensors cannot be read (…): invert the image again"),
    ("edit empty.safetensors --target T", "empty.safetensors cannot be read (…): invert the image again"),
    (
        "edit text.safetensors --target T --source S",
        "--source has no effect on text.safetensors, which is inverted already: leave it out",
    ),
    (
        "edit text.safetensors --target T --no-noise-maps",
        "--noise-maps has no effect on text.safetensors, which is inverted already: leave it out",
    ),
    (
        "edit text.safetensors --target T --source-guidance 2",
        "--source-guidance has no effect on text.safetensors, which is inverted already: leave it out",
    ),
    # the prompts
    ("edit picture.png --target T", "--source is missing: describe picture.png, or give auto"),
    (f"{EDIT} --source EMPTY", "--source ' ' is empty: describe the image"),
    ("edit picture.png --source S --target EMPTY", "--target ' ' is empty: describe the image"),
    ("invert picture.png --prompt EMPTY -o x.safetensors", "--prompt ' ' is empty: describe the image"),
    ("generate EMPTY -o dir", "PROMPT ' ' is empty: describe the image"),
    # models, solvers, devices
    (
        f"{EDIT} --source S --model nil",
        "unknown model 'nil': use scenes, scenes-turbo, a folder, or a Hub id such as …",
    ),
    (f"{EDIT} --source S --model .", ". is not a model: it needs a model_index.json, as diffusers writes it"),
    (f"{EDIT} --source S --device tpu", "device 'tpu' is not available here: use auto or cpu"),
    (f"{EDIT} --source S --inverter magic", "no solver is called 'magic'; there are explicit, fixed-point, …"),
    (f"{EDIT} --source S --inverter gnri:magic=1", "solver 'gnri' has no field 'magic'; its fields are weight, …"),
    (f"{EDIT} --source S --inverter gnri:eta=x", "solver 'gnri': eta='x' is not a float"),
    (f"{EDIT} --source S --inverter anderson:memory=0", "solver 'anderson': memory=0 is outside 1 to 50"),
    # numbers
    (f"{EDIT} --source S --steps 0", "--steps 0 is not accepted: give a whole number from 1"),
    (f"{EDIT} --source S --steps 2.5", "--steps 2.5 is not accepted: give a whole number from 1"),
    (f"{EDIT} --source S --strength 0", "--strength 0.0 is out of range: give more than 0 and at most 1"),
    (f"{EDIT} --source S --strength 1.5", "--strength 1.5 is not accepted: give a number from 0 to 1"),
    (f"{EDIT} --source S --guidance -1", "--guidance -1 is not accepted: give a number from 0 to 100"),
    (f"{EDIT} --source S --guidance nan", "--guidance nan is not accepted: give a number from 0 to 100"),
    (f"{EDIT} --source S --source-guidance 101", "--source-guidance 101 is not accepted: give a number from 0 to 100"),
    (f"{EDIT} --source S --guidance much", "--guidance much is not accepted: give a number from 0 to 100"),
    (f"{EDIT} --source S --seed -1", "--seed -1 is not accepted: give a whole number from 0 to 9223372036854775807"),
    (f"{EDIT} --source S --seed x", "--seed x is not accepted: give a whole number from 0 to 9223372036854775807"),
    (f"{EDIT} --source S --tol 0", "--tol 0 is not accepted: give a number above 0"),
    (f"{EDIT} --source S --tol inf", "--tol inf is not accepted: give a number above 0"),
    (
        f"{EDIT} --source S --iterations 5,0",
        "--iterations '5,0' is no number of iterations: give 1 or more for each step, like 2 or 5,1",
    ),
    (f"{EDIT} --source S --size 10", "--size '10' is not a size: give a width and a height up to 16384, like 640x480"),
    (
        f"{EDIT} --source S --control none --control start-step",
        "--control none and other controls exclude each other: …",
    ),
    (f"{EDIT} --source S --control mask", "--control mask has no image: give --mask FILE"),
    (f"{EDIT} --source S --device meta", "device 'meta' is not available here: use auto or cpu"),
    (f"{EDIT} --source S --size 0x9", "--size '0x9' is not a size: …"),
    (f"{EDIT} --source S --resolution 9", "--resolution '9' is not a size: …"),
    (
        f"{EDIT} --source S --edit-steps 9 --control automatic-mask",
        "--edit-steps 9 and controls exclude each other: edit in as many steps as were inverted",
    ),
    (
        "edit empty.safetensors --target T --resolution 64x64",
        "--resolution has no effect on empty.safetensors, which is inverted already: leave it out",
    ),
    ("generate T -o dir -n 0", "--count 0 is not accepted: give a whole number from 1 to 10000"),
    (
        "generate T -o dir --seed 9223372036854775807",
        "--seed 9223372036854775807 leaves no seeds for 4 images: give at most 9223372036854775804",
    ),
    ("bench embedded --limit 0", "--limit 0 is not accepted: give a whole number from 1"),
    # outputs
    (f"{EDIT} --source S -o taken.png", "taken.png exists: choose another name, or overwrite it with --force"),
    (f"{EDIT} --source S --sheet taken.png", "taken.png exists: choose another name, or overwrite it with --force"),
    (f"{EDIT} --source S -o out.gif", "cannot write out.gif: its suffix is '.gif', use .png, .jpg, .jpeg, .webp"),
    (f"{EDIT} --source S -o x.png --sheet x.png", "x.png is the path of two results: give every result its own name"),
    (f"{EDIT} --source S -o no/x.png", "cannot write no/x.png: there is no directory no, create it first"),
    (f"{EDIT} --source S -o dir.png", "cannot write dir.png: it is a directory, give a file name"),
    ("invert picture.png --prompt S -o x.png", "cannot write x.png: its suffix is '.png', use .safetensors"),
    ("invert picture.png --prompt S -o text.safetensors", "text.safetensors exists: choose another name, or …"),
    ("generate T -o taken.png", "cannot write to taken.png: it is a file, give a directory"),
    ("generate T -o taken.png/deep", "cannot create taken.png/deep: taken.png is a file, choose another directory"),
    # the command itself
    ("edit picture.png", "missing option '--target' (see rnri edit --help)"),
    ("edit picture.png --target", "option '--target' requires an argument (see rnri --help)"),
    ("edt", "no such command 'edt'… (see rnri --help)"),
    ("bench", "missing command (see rnri bench --help)"),
]


def matches(text: str, pattern: str) -> bool:
    """Whether a text is a pattern, in which … stands for anything."""
    head, _, tail = pattern.partition("…")
    return text == pattern or ("…" in pattern and text.startswith(head) and text.endswith(tail) and "\n" not in text)


@pytest.mark.parametrize(("command", "complaint"), BAD, ids=[command for command, _ in BAD])
def test_bad_input_is_one_line_and_nothing_is_written(run: Run, tmp_path: Path, command: str, complaint: str) -> None:
    Path("dir.png").mkdir()
    for name, content in FILES.items():
        Path(name).write_bytes(content())
    before = there(tmp_path)
    code, out, err = run(*(WORDS.get(word, word) for word in command.split()))
    said = [line for line in err.splitlines() if not line.startswith("loading ")]
    assert len(said) == 1, err
    assert matches(said[0].replace(f"{tmp_path}/", ""), f"rnri: {complaint}"), said[0]
    assert (code, out) == (2, "")
    assert there(tmp_path) == before
    assert not Path("dir").exists()


NEEDS_MODEL = [
    (("--steps", 1001), "--steps 1001 is out of range: give a whole number from 1 to 1000"),
    (
        ("--resolution", "30x20"),
        "--resolution 30x20 is not to be had: both sides have to be multiples of 4 up to 16384, such as 32x20",
    ),
    (("--strength", 0.1), "--strength 0.1 is out of range: give 0.25 to 1 to keep 1 to 4 steps"),
    (("--negative", OTHER), f"the negative prompt {OTHER!r} has no effect at guidance 1: raise the guidance above 1"),
]


@pytest.mark.parametrize(("more", "complaint"), NEEDS_MODEL)
def test_so_is_what_only_the_model_knows(edit: Run, tmp_path: Path, more: tuple[object, ...], complaint: str) -> None:
    before = there(tmp_path)
    code, out, err = edit(*more)
    assert (code, out, err.splitlines()[-1]) == (2, "", f"rnri: {complaint}")
    assert "Traceback" not in err
    assert there(tmp_path) == before


def test_an_inversion_of_another_model_is_refused(edit: Run, run: Run, model: Path, tmp_path: Path) -> None:
    run(
        "invert", "picture.png", "--prompt", SOURCE, "-o", "way.safetensors", "--model", model, "--inverter", "explicit"
    )
    other = tiny.save(tiny.pipeline(seed=1), tmp_path / "other")
    code, out, err = run("edit", "way.safetensors", "--target", TARGET, "--model", other, "-o", "out.png")
    assert (code, out) == (2, "")
    assert "load the model it was made with, or invert the image again" in err.splitlines()[-1]
    assert not Path("out.png").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_one_may_not_write_in(edit: Run) -> None:
    Path("shut").mkdir(mode=0o500)
    code, _, err = edit("-o", "shut/out.png")
    assert code == 2
    assert err == "rnri: cannot write shut/out.png: no permission to write in shut, choose another directory\n"


def test_a_disk_that_refuses(edit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "out.png")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, out, err = edit("-o", "out.png")
    assert (code, out, err.splitlines()[-1]) == (2, "", "rnri: cannot write out.png: No space left on device")
    assert not Path("out.png").exists()


def test_errors_show_where_they_come_from_if_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNRI_TRACEBACK", "1")
    with pytest.raises(ValueError, match=r"missing\.png does not exist"):
        run("edit", "missing.png", "--source", SOURCE, "--target", TARGET)


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
def test_an_interrupt_leaves_no_half_file(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rnri", "generate", TARGET, "-o", "new", "--steps", "1000", "--model", str(model)]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("sampling"):
            break
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, "", "rnri: interrupted\n")
    assert there(tmp_path) == {}
