"""The command line of controls, and of pictures that describe themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipTextConfig, BlipVisionConfig

from rnri import images
from rnri.baselines import METHODS
from rnri.cli import sources
from rnri.controls import CONTROLS
from rnri.editing.captioning import describe
from rnri.editing.editor import Editor
from rnri.models.captioner import Captioner
from rnri.scenes.render import render
from rnri.scenes.scene import Item, Scene
from tests import tiny
from tests.conftest import SOURCE, TARGET, Run
from tests.test_cli import same

SCENE = Scene((Item("cone", "red", "matte", "large"), None, None), "snow", "day")
SHOWN = "a large red matte cone on the left, on snow, by day"


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a captioner of random weights, in the standard layout."""
    folder = tmp_path_factory.mktemp("blip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", *tiny.WORDS]
    vocabulary = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    vocabulary.pre_tokenizer = pre_tokenizers.Whitespace()
    BertTokenizerFast(tokenizer_object=vocabulary, bos_token="[DEC]").save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = BlipTextConfig(
        **small,
        vocab_size=len(words),
        encoder_hidden_size=16,
        projection_dim=16,
        max_position_embeddings=64,
        bos_token_id=4,
        pad_token_id=0,
        eos_token_id=3,
        sep_token_id=3,
    )
    vision = BlipVisionConfig(**small, image_size=32, patch_size=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
        network = BlipForConditionalGeneration(config)
        network.text_decoder.cls.predictions.bias.data[:5] = -100.0  # words only
        network.save_pretrained(folder)
    return folder


# --- controls ---------------------------------------------------------------------------------------------------


def test_controls_reach_the_editor(edit: Run, model: Path) -> None:
    how = ["--control", "start-step:strength=0.6", "--control", "prompt-to-prompt", "--weight", "blue=3"]
    assert edit(*how, "-o", "out.png")[0] == 0
    editor = Editor.from_pretrained(model, device="cpu")
    found = editor.invert("picture.png", SOURCE)
    specs = ["start-step:strength=0.6", "prompt-to-prompt", "reweight:word=blue,weight=3"]
    editor.edit(found, TARGET, controls=specs).picture.save("expected.png")
    assert same("out.png", "expected.png")
    assert edit("-o", "plain.png")[0] == 0
    assert not same("out.png", "plain.png")


def test_an_old_name_works_and_is_remarked_on(edit: Run) -> None:
    code, _, shown = edit("--control", "hold:grow=0", "-o", "old.png")
    assert code == 0
    assert "'hold' is now 'automatic-mask'; the old name goes in 0.3" in shown
    assert "'grow' is now 'dilate'; the old name goes in 0.3" in shown
    assert edit("--control", "automatic-mask:dilate=0", "-o", "new.png")[0] == 0
    assert same("old.png", "new.png")


def test_none_is_no_control(edit: Run, model: Path) -> None:
    assert edit("--control", "none", "-o", "none.png")[0] == edit("-o", "auto.png")[0] == 0
    editor = Editor.from_pretrained(model, device="cpu")
    editor.edit(editor.invert("picture.png", SOURCE), TARGET, controls=()).picture.save("expected.png")
    assert same("none.png", "expected.png")
    assert not same("none.png", "auto.png")


def test_what_is_masked_is_pasted_to_the_bit(edit: Run) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[:, 20:] = 255
    Image.fromarray(mask).save("mask.png")
    assert edit("--mask", "mask.png", "--paste", "-o", "out.png")[0] == 0
    with Image.open("out.png") as result, Image.open("picture.png") as picture:
        kept, given = np.asarray(result)[:, :12], np.asarray(picture)[:, :12]
    assert np.array_equal(kept, given)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--control", "magic"], "no control is called 'magic'; there are start-step, "),
        (["--control", "start-step:strength=2"], "control 'start-step': strength=2.0 is outside 0 to 1"),
        (["--weight", "blue"], "--weight 'blue' is not a word and its weight: give one like ball=2.0"),
        (["--weight", "=2"], "--weight '=2' is not a word and its weight"),
        (["--weight", "cube=2"], "the prompt has no word 'cube' to weight: give one of a, blue, ball, on, sand"),
        (["--mask", "nowhere.png"], "--mask nowhere.png is no file: give an image, white where"),
        (["--paste"], "there is nothing to paste: add a control with a mask, such as mask"),
    ],
)
def test_controls_that_make_no_sense(edit: Run, options: list[str], complaint: str) -> None:
    code, out, err = edit(*options, "-o", "out.png")
    assert (code, out) == (2, "")
    assert f"rnri: {complaint}" in err
    assert not Path("out.png").exists()


def test_a_stored_inversion_has_nothing_to_paste(run: Run, model: Path) -> None:
    code, _, err = run("edit", "way.safetensors", "--target", TARGET, "--paste", "--model", model)
    assert (code, err) == (
        2, "rnri: --paste needs the image itself, and way.safetensors is its inversion: give the image\n"
    )  # fmt: skip


@pytest.mark.parametrize(("command", "registry"), [("controls", CONTROLS), ("methods", METHODS)])
def test_they_are_listed(run: Run, command: str, registry: dict[str, type]) -> None:
    code, out, err = run(command)
    assert (code, err) == (0, "")
    names = [line for line in out.splitlines() if line and not line.startswith(" ")][:-1]
    assert names == list(registry)
    assert "strength=0.7" in out or "strength=0.75" in out


# --- descriptions -----------------------------------------------------------------------------------------------


def test_scenes_are_read() -> None:
    assert describe(render(SCENE), "scenes", captioner="nobody") == SHOWN


def test_other_pictures_are_captioned(blip: Path) -> None:
    pixels = images.read(render(SCENE))
    said = describe(pixels, "a photo model", captioner=str(blip))
    assert set(said.split()) <= set(tiny.WORDS)
    assert said == Captioner.load(str(blip)).describe(pixels)


def test_a_captioner_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no captioner '.*': .*; fetch one with 'hf download Salesforce/blip"):
        Captioner.load(str(tmp_path))


def test_auto_says_what_it_saw(run: Run, model: Path, blip: Path) -> None:
    how = ("--model", model, "--captioner", blip)
    code, out, err = run("edit", "picture.png", "--source", "auto", "--target", TARGET, *how, "--json")
    assert code == 0
    said = json.loads(out)["source"]
    assert f"it shows: {said} …" in err
    code, out, _ = run("invert", "picture.png", "--prompt", sources.AUTO, *how, "-o", "way.safetensors")
    assert code == 0
    assert [line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("source")] == [said]
