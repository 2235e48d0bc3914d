"""What the page asks of the server, without a browser."""

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
from rnri.editing.editor import Editor
from rnri.web.engine import Engine
from rnri.web.page_desk import MAX_TARGETS, Desk
from rnri.web.page_pictures import as_url, from_url
from tests.conftest import SOURCE, TARGET, Run

TOKEN = "a-token-of-a-browser-tab"
PICTURE = as_url(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[Engine]:
    with Engine(Editor.from_pretrained(model, device="cpu")) as engine:
        yield engine


def ask(engine: Engine, name: str, /, **asked: Any) -> dict[str, Any]:
    """One answer of a desk, as the page gets it."""
    act = next(act for act in Desk(engine).counters() if getattr(act, "__name__", "") == name)
    return asyncio.run(act({"token": TOKEN, **asked}))


@pytest.fixture(scope="module")
def found(engine: Engine) -> dict[str, Any]:
    return ask(engine, "invert", picture=PICTURE, prompt=SOURCE)


def wish(found: dict[str, Any], *prompts: str, **more: Any) -> dict[str, Any]:
    return {"id": found["id"], "prompts": list(prompts) or [TARGET], "strength": 1.0, "guidance": 1.0} | more


def pixels(url: str) -> torch.Tensor:
    return images.decode(from_url(url, what="picture"))


def test_hello_tells_every_solver_with_its_fields(engine: Engine) -> None:
    told = ask(engine, "hello")
    fields = {each["name"]: [field["name"] for field in each["fields"]] for each in told["solvers"]}
    solvers = {name: [each.name for each in method.options()] for name, method in SOLVERS.items()}
    assert fields == {name: [] for name in PRESETS} | solvers
    assert set(SOURCE.split()) <= set(told["words"])
    assert "start-step" in [each["name"] for each in told["controls"]]
    assert told["examples"] == []  # it is not a model of scenes


def test_an_inversion_says_how_good_it_is(engine: Engine, found: dict[str, Any]) -> None:
    kept = engine.find(found["id"], TOKEN).inversion
    assert kept is not None
    assert found["psnr"] == pytest.approx(engine.find(found["id"], TOKEN).about.quality.psnr_db)
    assert found["status"] == "FIXED_BUDGET"
    outwards = [solution.residuals[:, 0].tolist() for solution in reversed(kept.solutions)]
    assert found["residuals"] == outwards
    assert found["cost"]["nfe"] == kept.nfe


def test_settings_reach_the_solver(engine: Engine) -> None:
    told = ask(
        engine, "invert", picture=PICTURE, prompt=SOURCE, solver="averaged", fields={}, steps=2, budget=3, tol=1e-9
    )
    assert [len(each) for each in told["residuals"]] == [3, 3]
    assert told["status"] == "MAX_ITER"


def test_a_picture_that_is_no_scene_needs_a_prompt(engine: Engine) -> None:
    assert ask(engine, "invert", picture=PICTURE, prompt=" ") == {"ask": True}


def test_what_is_drawn_is_what_the_editor_draws(engine: Engine, found: dict[str, Any]) -> None:
    kept = engine.find(found["id"], TOKEN).inversion
    assert kept is not None
    drawn = ask(engine, "draw", **wish(found, guidance=2.0))
    expected = engine.editor.edit(kept, TARGET, guidance=2.0).picture
    assert torch.equal(pixels(drawn["pictures"][0]), images.read(expected))
    assert drawn["cost"]["nfe"] == 8


def test_controls_reach_the_editor(engine: Engine, found: dict[str, Any]) -> None:
    kept = engine.find(found["id"], TOKEN).inversion
    assert kept is not None
    controls = [{"name": "start-step", "fields": {"strength": 0.5}}]
    drawn = ask(engine, "draw", **wish(found, controls=controls))
    expected = engine.editor.edit(kept, TARGET, guidance=1.0, controls=["start-step:strength=0.5"]).picture
    assert torch.equal(pixels(drawn["pictures"][0]), images.read(expected))
    assert "--control start-step:strength=0.5" in drawn["command"]
    assert "controls=['start-step:strength=0.5']" in drawn["python"]["plain"]


def test_no_controls_are_not_the_default_ones(engine: Engine, found: dict[str, Any]) -> None:
    kept = engine.find(found["id"], TOKEN).inversion
    assert kept is not None
    choices: dict[str, Any] = {"auto": "auto", "none": []}
    drawn = {name: ask(engine, "draw", **wish(found, controls=controls)) for name, controls in choices.items()}
    for name, controls in choices.items():
        expected = engine.editor.edit(kept, TARGET, guidance=1.0, controls=controls).picture
        assert torch.equal(pixels(drawn[name]["pictures"][0]), images.read(expected))
    assert "--control none" in drawn["none"]["command"]
    assert "controls=[]" in drawn["none"]["python"]["plain"]
    assert "control" not in drawn["auto"]["command"] + drawn["auto"]["python"]["plain"]


def test_several_are_drawn_at_once(engine: Engine, found: dict[str, Any]) -> None:
    drawn = ask(engine, "several", **wish(found, SOURCE, TARGET))
    alone = [ask(engine, "draw", **wish(found, prompt))["pictures"][0] for prompt in (SOURCE, TARGET)]
    for one, other in zip(drawn["pictures"], alone, strict=True):
        assert (pixels(one) - pixels(other)).abs().max() <= 2 / 127.5  # a batch rounds otherwise


def test_the_newest_wins(engine: Engine, found: dict[str, Any]) -> None:
    draw = next(act for act in Desk(engine).counters() if getattr(act, "__name__", "") == "draw")

    async def type_fast() -> list[dict[str, Any]]:
        texts = ["a red ball", "a red cube", TARGET]
        return await asyncio.gather(*(draw({"token": TOKEN} | wish(found, text)) for text in texts))

    before = engine.counts["calls"]
    answers = asyncio.run(type_fast())
    assert answers[:2] == [{"stale": True}] * 2
    assert len(answers[2]["pictures"]) == 1
    assert engine.counts["calls"] - before < 12  # the older ones were dropped on the way, or before it


def test_a_tab_sees_nothing_of_another(engine: Engine, found: dict[str, Any]) -> None:
    assert ask(engine, "draw", **wish(found), token="another-token-of-a-tab") == {"missing": True}


@pytest.mark.parametrize(
    ("name", "asked", "cure"),
    [
        ("draw", {"prompts": [""]}, "a prompt has 1 to"),
        ("draw", {"prompts": []}, "give 1 to 8 targets"),
        ("draw", {"prompts": ["a ball"] * (MAX_TARGETS + 1)}, "give 1 to 8 targets"),
        ("draw", {"strength": 7}, "strength=7 is out of range"),
        ("draw", {"strength": 0.01}, "strength=0.01 is out of range"),
        ("draw", {"guidance": True}, "guidance=True is out of range"),
        ("draw", {"controls": [{"name": "magic"}]}, "no control is called 'magic'"),
        ("draw", {"controls": ["start-step"]}, "'start-step' has no name"),
        ("draw", {"controls": "none"}, "controls='none' is neither 'auto' nor a list of at most 8 controls"),
        ("draw", {"token": "short"}, "load it again"),
        ("keep", {"kind": "everything"}, "image, sheet, inversion"),
        ("keep", {"kind": "image", "mask": "nonsense"}, "the mask is no data URL"),
        ("invert", {"picture": "nonsense", "prompt": "a ball"}, "the picture is no data URL"),
        ("invert", {"picture": "data:image/png;base64,AAAA", "prompt": "a ball"}, "not a PNG, JPEG or WebP"),
        ("invert", {"picture": PICTURE, "prompt": "a ball", "solver": "magic"}, "no solver is called 'magic'"),
        ("invert", {"picture": PICTURE, "prompt": "a ball", "solver": "gnri", "fields": {"eta": "much"}}, "eta="),
        ("invert", {"picture": PICTURE, "prompt": "a ball", "steps": 0}, "Steps 0 is out of range: 1 to 1000"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    engine: Engine, found: dict[str, Any], name: str, asked: dict[str, Any], cure: str
) -> None:
    if name != "invert":
        asked = wish(found) | {"picture": PICTURE} | asked
    answer = ask(engine, name, **asked)
    assert list(answer) == ["error"]
    assert cure in answer["error"]
    assert "\n" not in answer["error"]


def test_a_mask_keeps_the_rest_of_the_picture(engine: Engine, found: dict[str, Any]) -> None:
    mask = np.zeros((20, 30, 3), np.uint8)
    mask[:, :15] = 255
    kept = ask(engine, "keep", **wish(found, kind="image", picture=PICTURE, mask=as_url(mask)))
    plain = ask(engine, "keep", **wish(found, kind="image", picture=PICTURE))
    assert kept["name"] == "picture-edited.png"
    assert torch.equal(pixels(kept["data"])[..., 15:], pixels(PICTURE)[..., 15:])
    assert torch.equal(pixels(kept["data"])[..., :15], pixels(plain["data"])[..., :15])


def test_an_inversion_is_kept_as_a_file(engine: Engine, found: dict[str, Any], tmp_path: Path) -> None:
    kept = ask(engine, "keep", **wish(found, kind="inversion", strength=0.5, name="my photo.jpg"))
    path = tmp_path / kept["name"]
    path.write_bytes(base64.b64decode(kept["data"].partition(",")[2]))
    stored = Inversion.load(path)
    assert path.name == "my photo.safetensors"
    assert len(stored.schedule) == 2
    assert stored.prompt == SOURCE


def test_a_sheet_shows_all(engine: Engine, found: dict[str, Any]) -> None:
    kept = ask(engine, "keep", **wish(found, SOURCE, TARGET, kind="sheet", picture=PICTURE))
    sheet = Image.open(io.BytesIO(base64.b64decode(kept["data"].partition(",")[2])))
    assert sheet.width > 4 * 256


def test_command_and_python_draw_the_same_picture(engine: Engine, run: Run) -> None:
    """What the page hands out is run as it stands, beside the picture it was made of."""
    url = as_url(Path("picture.png"))
    found = ask(engine, "invert", picture=url, prompt=SOURCE, solver="gnri", fields={"eta": 0.5}, budget=3, seed=5)
    asked = wish(found, guidance=2.0, strength=0.5, name="picture.png")
    drawn = ask(engine, "draw", **asked)
    expected = pixels(ask(engine, "keep", kind="image", picture=url, **asked)["data"])
    assert drawn["command"].startswith("rnri edit picture.png ")

    code, _, said = run(*shlex.split(drawn["command"].replace("\\\n", " "))[1:], "--device", "cpu")
    assert (code, said.count("out of range")) == (0, 0)
    assert torch.equal(images.read("picture-edited.png"), expected)
    Path("picture-edited.png").unlink()
    subprocess.run([sys.executable, "-c", drawn["python"]["plain"]], check=True)
    assert torch.equal(images.read("picture-edited.png"), expected)
