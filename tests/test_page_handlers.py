"""Handlers of the page's requests, without a browser."""

from __future__ import annotations

import asyncio
import base64
import io
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rnri_core.inversion.inversion import Inversion
from rnri_core.inversion.presets import PRESETS
from rnri_core.solvers import SOLVERS

from rnri import images
from rnri.controls import CONTROLS
from rnri.editing.editor import Editor
from rnri.web.engine import Engine
from rnri.web.page_handlers import MAX_TARGETS, Handler, PageHandlers
from rnri.web.page_pictures import as_url, from_url
from tests.conftest import SOURCE, TARGET, Run
from tests.engines import control_with

LATE = control_with("strength")
TOKEN = "a-token-of-a-browser-tab"
PICTURE = as_url(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[Engine]:
    with Engine(Editor.from_pretrained(model, device="cpu")) as engine:
        yield engine


def handler(engine: Engine, name: str) -> Handler:
    return next(each for each in PageHandlers(engine).handlers() if each.__name__ == name)


def ask(engine: Engine, name: str, /, **values: Any) -> dict[str, Any]:
    """One answer of a handler, as the page gets it."""
    return asyncio.run(handler(engine, name)({"token": TOKEN, **values}))


@pytest.fixture(scope="module")
def found(engine: Engine) -> dict[str, Any]:
    return ask(engine, "invert", picture=PICTURE, prompt=SOURCE)


def wish(found: dict[str, Any], *prompts: str, **more: Any) -> dict[str, Any]:
    return {"id": found["id"], "prompts": list(prompts) or [TARGET], "strength": 1.0, "guidance": 1.0} | more


def pixels(url: str) -> torch.Tensor:
    return images.decode(from_url(url, what="picture"))


def test_hello_lists_every_solver_with_its_fields(engine: Engine) -> None:
    hello = ask(engine, "hello")
    fields = {each["name"]: [option["name"] for option in each["options"]] for each in hello["inverters"]}
    solvers = {name: [each.name for each in method.options()] for name, method in SOLVERS.items()}
    assert fields == {name: [] for name in PRESETS} | solvers
    assert set(SOURCE.split()) <= set(hello["words"])
    plain = [name for name, kind in CONTROLS.items() if all(option.plain for option in kind.options())]
    assert [each["name"] for each in hello["controls"]] == plain
    assert [(each["name"], each["type"], each["default"]) for each in hello["settings"]] == [
        ("steps", "int", 4),
        ("iterations", "str", None),
        ("tol", "float", None),
        ("noise_maps", "bool", None),
        ("seed", "int", 0),
    ]
    assert hello["examples"] == []  # it is not a model of scenes


def test_an_inversion_says_how_good_it_is(engine: Engine, found: dict[str, Any]) -> None:
    kept = engine.find(found["id"], TOKEN).inversion
    assert kept is not None
    assert found["quality"] == engine.find(found["id"], TOKEN).report.quality.model_dump()
    assert found["quality"]["status"] == "FIXED_BUDGET"
    assert found["inverter"] == kept.provenance.inverter != "auto"
    outwards = [solution.residuals[:, 0].tolist() for solution in reversed(kept.solutions)]
    assert found["residuals"] == outwards
    assert found["cost"]["nfe"] == kept.nfe


def test_settings_reach_the_solver(engine: Engine) -> None:
    settings = {"inverter": {"name": "averaged", "fields": {}}, "steps": 2, "iterations": 3, "tol": 1e-9}
    answer = ask(engine, "invert", picture=PICTURE, prompt=SOURCE, **settings)
    assert [len(each) for each in answer["residuals"]] == [3, 3]
    assert answer["quality"]["status"] == "MAX_ITER"


def test_a_picture_that_is_no_scene_needs_a_prompt(engine: Engine) -> None:
    assert ask(engine, "invert", picture=PICTURE, prompt=" ") == {"ask": True}


def test_an_edit_is_that_of_the_editor(engine: Engine, found: dict[str, Any]) -> None:
    kept = engine.find(found["id"], TOKEN).inversion
    assert kept is not None
    edited = ask(engine, "edit", **wish(found, guidance=2.0))
    expected = engine.editor.edit(kept, TARGET, guidance=2.0).picture
    assert torch.equal(pixels(edited["pictures"][0]), images.read(expected))
    assert edited["cost"]["nfe"] == 8


def test_controls_reach_the_editor(engine: Engine, found: dict[str, Any]) -> None:
    kept = engine.find(found["id"], TOKEN).inversion
    assert kept is not None
    controls = [{"name": LATE, "fields": {"strength": 0.5}}]
    edited = ask(engine, "edit", **wish(found, controls=controls))
    expected = engine.editor.edit(kept, TARGET, guidance=1.0, controls=[f"{LATE}:strength=0.5"]).picture
    assert torch.equal(pixels(edited["pictures"][0]), images.read(expected))
    assert f"--control {LATE}:strength=0.5" in edited["command"]
    assert f"controls=['{LATE}:strength=0.5']" in edited["python"]["plain"]
    edited = ask(engine, "edit", **wish(found, controls=[]))
    expected = engine.editor.edit(kept, TARGET, guidance=1.0, controls=()).picture
    assert torch.equal(pixels(edited["pictures"][0]), images.read(expected))
    assert "--control none" in edited["command"]


def test_several_are_edited_at_once(engine: Engine, found: dict[str, Any]) -> None:
    edited = ask(engine, "several", **wish(found, SOURCE, TARGET))
    alone = [ask(engine, "edit", **wish(found, prompt))["pictures"][0] for prompt in (SOURCE, TARGET)]
    for one, other in zip(edited["pictures"], alone, strict=True):
        assert (pixels(one) - pixels(other)).abs().max() <= 2 / 127.5  # a batch rounds otherwise


def test_the_newest_wins(engine: Engine, found: dict[str, Any]) -> None:
    edit = handler(engine, "edit")

    async def type_fast() -> list[dict[str, Any]]:
        texts = ["a red ball", "a red cube", TARGET]
        return await asyncio.gather(*(edit({"token": TOKEN} | wish(found, text)) for text in texts))

    before = engine.counts["calls"]
    answers = asyncio.run(type_fast())
    assert answers[:2] == [{"stale": True}] * 2
    assert len(answers[2]["pictures"]) == 1
    assert engine.counts["calls"] - before < 12  # the older ones were dropped on the way, or before it


def test_a_tab_sees_nothing_of_another(engine: Engine, found: dict[str, Any]) -> None:
    assert ask(engine, "edit", **wish(found), token="another-token-of-a-tab") == {"missing": True}


@pytest.mark.parametrize(
    ("name", "values", "cure"),
    [
        ("edit", {"prompts": [""]}, "a prompt has 1 to"),
        ("edit", {"prompts": []}, "give 1 to 8 targets"),
        ("edit", {"prompts": ["a ball"] * (MAX_TARGETS + 1)}, "give 1 to 8 targets"),
        ("edit", {"strength": 7}, "strength: Input should be less than or equal to 1"),
        ("edit", {"strength": 0.01}, "strength=0.01 is out of range"),
        ("edit", {"guidance": True}, "guidance: Input should be a valid number"),
        ("edit", {"controls": [{"name": "magic"}]}, "no control is called 'magic'"),
        ("edit", {"controls": ["polish"]}, "'polish' has no name"),
        ("edit", {"token": "short"}, "token: String should have at least 16 characters"),
        ("download", {"kind": "everything"}, "'image', 'sheet' or 'inversion'"),
        ("download", {"kind": "image", "mask": "nonsense"}, "the mask is no data URL"),
        ("invert", {"picture": "nonsense", "prompt": "a ball"}, "the picture is no data URL"),
        ("invert", {"picture": "data:image/png;base64,AAAA", "prompt": "a ball"}, "not a PNG, JPEG or WebP"),
        (
            "invert",
            {"picture": PICTURE, "prompt": "a ball", "inverter": {"name": "magic"}},
            "no solver is called 'magic'",
        ),
        (
            "invert",
            {"picture": PICTURE, "prompt": "a ball", "inverter": {"name": "gnri", "fields": {"eta": "much"}}},
            "eta=",
        ),
        (
            "invert",
            {"picture": PICTURE, "prompt": "a ball", "steps": 0},
            "steps: Input should be greater than or equal to 1",
        ),
    ],
)
def test_a_refusal_is_one_line(
    engine: Engine, found: dict[str, Any], name: str, values: dict[str, Any], cure: str
) -> None:
    if name != "invert":
        values = wish(found) | {"picture": PICTURE} | values
    answer = ask(engine, name, **values)
    assert list(answer) == ["error"]
    assert cure in answer["error"]
    assert "\n" not in answer["error"]


def test_a_mask_keeps_the_rest_of_the_picture(engine: Engine, found: dict[str, Any]) -> None:
    mask = np.zeros((20, 30, 3), np.uint8)
    mask[:, :15] = 255
    kept = ask(engine, "download", **wish(found, kind="image", picture=PICTURE, mask=as_url(mask)))
    plain = ask(engine, "download", **wish(found, kind="image", picture=PICTURE))
    assert kept["name"] == "picture-edited.png"
    assert torch.equal(pixels(kept["data"])[..., 15:], pixels(PICTURE)[..., 15:])
    assert torch.equal(pixels(kept["data"])[..., :15], pixels(plain["data"])[..., :15])


def test_an_inversion_is_kept_as_a_file(engine: Engine, found: dict[str, Any], tmp_path: Path) -> None:
    kept = ask(engine, "download", **wish(found, kind="inversion", strength=0.5, name="my photo.jpg"))
    path = tmp_path / kept["name"]
    path.write_bytes(base64.b64decode(kept["data"].partition(",")[2]))
    stored = Inversion.load(path)
    assert path.name == "my photo.safetensors"
    assert len(stored.schedule) == 2
    assert stored.prompt == SOURCE


def test_a_sheet_shows_all(engine: Engine, found: dict[str, Any]) -> None:
    kept = ask(engine, "download", **wish(found, SOURCE, TARGET, kind="sheet", picture=PICTURE))
    sheet = Image.open(io.BytesIO(base64.b64decode(kept["data"].partition(",")[2])))
    assert sheet.width > 4 * 256


def test_command_and_python_make_the_same_picture(engine: Engine, run: Run) -> None:
    """What the page hands out is run as it stands, beside the picture it was made of."""
    url = as_url(Path("picture.png"))
    inverter = {"name": "gnri", "fields": {"eta": 0.5}}
    found = ask(engine, "invert", picture=url, prompt=SOURCE, inverter=inverter, iterations=3, noise_maps=True, seed=5)
    values = wish(found, guidance=2.0, strength=0.5, name="picture.png")
    edited = ask(engine, "edit", **values)
    expected = pixels(ask(engine, "download", kind="image", picture=url, **values)["data"])
    assert edited["command"].startswith("rnri edit picture.png ")

    code, _, errors = run(*shlex.split(edited["command"].replace("\\\n", " "))[1:], "--device", "cpu")
    assert (code, errors.count("out of range")) == (0, 0)
    assert torch.equal(images.read("picture-edited.png"), expected)
    Path("picture-edited.png").unlink()
    subprocess.run([sys.executable, "-c", edited["python"]["plain"]], check=True)
    assert torch.equal(images.read("picture-edited.png"), expected)
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save("mask.png")
    subprocess.run([sys.executable, "-c", edited["python"]["masked"]], check=True)
    assert torch.equal(images.read("masked.png"), expected)
