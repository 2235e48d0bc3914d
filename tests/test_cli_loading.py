"""The options by which models are loaded, the same for every command that loads one."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from rnri.models.loading import Loading
from tests.conftest import SOURCE, Run

COMMANDS = ("edit", "invert", "generate", "interpolate", "concept", "ui", "serve", "bench speed")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_way_of_loading_is_an_option(run: Run, command: str) -> None:
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    for name in ("dtype", *(each.name for each in fields(Loading))):
        assert f"--{name.replace('_', '-')} " in out


def test_they_reach_the_model(edit: Run) -> None:
    code, out, err = edit("--json", "--scheduler", "euler", "--dtype", "bfloat16", "--vae-slicing", "--channels-last")
    assert code == 0, err
    assert json.loads(out)["steps"] == 4


@pytest.mark.parametrize(
    "command",
    [
        ("interpolate", "picture.png", "picture.png", "--prompt-a", "a", "--prompt-b", "b", "-o", "out.webp"),
        ("concept", "picture.png", "--prompt", "a", "-o", "out"),
        ("ui", "--port", "0"),
        ("serve", "--port", "0"),
    ],
)
def test_they_reach_the_models_of_other_commands_too(run: Run, model: str, command: tuple[str, ...]) -> None:
    for options, complaint in (
        (("--scheduler", "flow"), "does not fit a network that predicts noise"),
        (("--preview", "owner/name"), "--preview owner/name has no effect without rnri edit --animation: leave it out"),
    ):
        code, out, err = run(*command, "--model", model, "--device", "cpu", *options)
        assert (code, out) == (2, "")
        assert complaint in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--scheduler", "heun"), "scheduler 'heun' is not known: use ddim"),
        (("--scheduler", "flow"), "does not fit a network that predicts noise"),
        (("--offload", "disk"), "--offload 'disk' is not one of 'none', 'model', 'sequential'"),
        (("--lora", "no-such-file.safetensors"), "LoRA no-such-file.safetensors does not exist: check the path"),
        (("--allow-pickle", "net"), "has no component 'net'"),
        (("--compile", "--cuda-graphs"), "exclude each other"),
        (("--cuda-graphs", "--offload", "model"), "cuda_graphs and offload 'model' exclude each other"),
        (("--channels-last", "--offload", "model"), "channels_last and offload 'model' exclude each other"),
        (("--spacing", "even"), "spacing 'even' is not known: use leading, trailing, linspace"),
        (("--edit-steps", "0"), "--edit-steps"),
    ],
)
def test_what_does_not_fit_is_one_line(edit: Run, options: tuple[str, ...], complaint: str) -> None:
    code, out, err = edit("-o", "out.png", "--device", "cpu", *options)
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


def test_an_edit_takes_other_steps(edit: Run, run: Run, model: str) -> None:
    assert run("invert", "picture.png", "--prompt", SOURCE, "--model", model, "-o", "found.safetensors")[0] == 0
    pictures = []
    for name, more in (("same", ()), ("more", ("--edit-steps", "8"))):
        arguments = ("edit", "found.safetensors", "--target", SOURCE, "--model", model, "-o", f"{name}.png")
        code, _, err = run(*arguments, *more)
        assert code == 0, err
        with open(f"{name}.png", "rb") as file:
            pictures.append(file.read())
    assert pictures[0] != pictures[1]


def test_other_steps_are_taken_from_noise_that_explains_the_picture(edit: Run, run: Run, model: str) -> None:
    code, out, err = edit("-o", "out.png", "--steps", "8", "--edit-steps", "16", "--json")
    assert code == 0, err
    assert (json.loads(out)["inverter"], json.loads(out)["status"]) == ("barzilai-borwein", "FIXED_BUDGET")
    assert (
        run("invert", "picture.png", "--prompt", SOURCE, "--model", model, "--steps", "8", "-o", "drawn.safetensors")[0]
        == 0
    )
    asked = ("edit", "drawn.safetensors", "--target", SOURCE, "--model", model, "-o", "no.png", "--edit-steps", "16")
    code, out, err = run(*asked)
    assert (code, out) == (2, "")
    complaint = "--edit-steps 16 needs noise that was solved for: invert with inverter='faithful'"
    assert err.splitlines()[-1] == f"rnri: {complaint}"
