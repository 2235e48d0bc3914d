"""The whole way: image in, inversion, edited images out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rnri import Inversion, Status
from rnri.editing.editor import Editor, Timings
from tests import tiny

SOURCE, TARGET, OTHER = "a red ball on sand", "a blue ball on sand", "a small green cube"
ONE_LEVEL = 1  # of 255: float32 noise may fall on either side of a rounding


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture(scope="module")
def inversion(editor: Editor) -> Inversion:
    return invert(editor)


@pytest.fixture(autouse=True)
def global_state_untouched() -> Iterator[None]:
    before, grad = torch.get_rng_state(), torch.is_grad_enabled()
    yield
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled() is grad


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def invert(editor: Editor, image: Any = None, prompt: str = SOURCE, **options: Any) -> Inversion:
    """Inverted as far as float32 goes, unless the options say otherwise."""
    settings = {"inverter": "fixed-point", "iterations": 12, "steps": 4, **options}
    return editor.invert(picture() if image is None else image, prompt, **settings)


def same(one: Image.Image, other: Image.Image, levels: int = 0) -> bool:
    difference = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))
    return one.size == other.size and bool(difference.max() <= levels)


# --- what must hold ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_the_same_prompt_gives_the_image_back(editor: Editor, guidance: float, strength: float) -> None:
    source = invert(editor, guidance=guidance, strength=strength)
    assert len(source.schedule) == 4 * strength
    again = editor.edit(source, SOURCE, guidance=guidance).picture
    assert same(again, editor.autoencoded(source), ONE_LEVEL)
    assert same(again, editor.reconstruct(source))


@pytest.mark.parametrize("inverter", ["explicit", "gnri", "gnri-released"])
def test_noise_maps_give_it_back_whatever_the_solver_did(editor: Editor, inverter: str) -> None:
    source = invert(editor, inverter=inverter, iterations=1, noise_maps=True)
    assert same(editor.reconstruct(source), editor.autoencoded(source), ONE_LEVEL)


def test_another_prompt_gives_another_image(editor: Editor, inversion: Inversion) -> None:
    plain = editor.edit(inversion, TARGET).picture
    assert not same(plain, editor.reconstruct(inversion))
    assert not same(plain, editor.edit(inversion, TARGET, guidance=3.0).picture)
    assert not same(editor.edit(inversion, TARGET, guidance=3.0, negative=SOURCE).picture, plain)


def test_a_loaded_inversion_gives_identical_edits(editor: Editor, inversion: Inversion, tmp_path: Path) -> None:
    inversion.save(tmp_path / "source.safetensors")
    loaded = Inversion.load(tmp_path / "source.safetensors")
    for guidance in (1.0, 3.0):
        assert same(
            editor.edit(loaded, TARGET, guidance=guidance).picture,
            editor.edit(inversion, TARGET, guidance=guidance).picture,
        )
    assert same(editor.reconstruct(loaded), editor.reconstruct(inversion))


@pytest.mark.parametrize("options", [{}, {"guidance": 3.0, "negative": SOURCE}])
def test_several_prompts_equal_one_by_one(editor: Editor, inversion: Inversion, options: dict[str, Any]) -> None:
    together = editor.edit(inversion, [TARGET, OTHER], **options).pictures
    assert len(together) == 2
    for result, prompt in zip(together, [TARGET, OTHER], strict=True):
        assert same(result, editor.edit(inversion, prompt, **options).picture, ONE_LEVEL)


def test_the_same_input_gives_the_same_bits(editor: Editor, inversion: Inversion) -> None:
    again = invert(editor)
    assert all(torch.equal(*pair) for pair in zip(again.latents, inversion.latents, strict=True))
    assert same(editor.edit(again, TARGET).picture, editor.edit(inversion, TARGET).picture)


def test_any_kind_of_image_is_the_same_image(editor: Editor, inversion: Inversion, tmp_path: Path) -> None:
    array = picture()
    Image.fromarray(array).save(tmp_path / "picture.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
    for image in (Image.fromarray(array), array / 255, tensor, tmp_path / "picture.png", str(tmp_path / "picture.png")):
        torch.testing.assert_close(invert(editor, image).clean, inversion.clean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 30), (64, 33), (1, 1), (200, 3)])
def test_the_result_has_the_size_of_the_image(editor: Editor, height: int, width: int) -> None:
    source = invert(editor, picture(height, width), iterations=1)
    assert source.size == (width, height)
    for result in (editor.edit(source, TARGET).picture, editor.reconstruct(source), editor.autoencoded(source)):
        assert result.size == (width, height)
        assert result.mode == "RGB"
    assert editor.edit(source, TARGET, size=(17, 9)).picture.size == (17, 9)


def test_the_inversion_says_what_it_belongs_to(editor: Editor) -> None:
    source = invert(editor, guidance=2.0, seed=5)
    assert (source.prompt, source.guidance, source.seed) == (SOURCE, 2.0, 5)
    assert source.model == editor.model.fingerprint


def test_an_inversion_of_another_model_is_refused(inversion: Inversion) -> None:
    other = Editor.from_pipe(tiny.pipeline(seed=1))
    for use in (lambda: other.edit(inversion, TARGET), lambda: other.reconstruct(inversion)):
        with pytest.raises(ValueError, match=f"the inversion is of model {inversion.model}, and .*: load the model"):
            use()


def test_a_network_that_breaks_is_a_status_and_still_shown() -> None:
    pipe = tiny.pipeline()
    pipe.unet.conv_out.bias.data.fill_(float("nan"))
    editor = Editor.from_pipe(pipe)
    source = invert(editor)
    assert source.solutions[-1].status == (Status.DIVERGED,)
    assert editor.edit(source, TARGET).picture.size == (30, 20)


def test_timings_add_up_where_the_time_was_spent(editor: Editor) -> None:
    timings = Timings()
    source = invert(editor, timings=timings)
    assert timings.encode > 0
    assert timings.invert > 0
    assert timings.edit == timings.decode == timings.load == 0
    editor.edit(source, TARGET, timings=timings)
    once = timings.edit
    editor.edit(source, TARGET, timings=timings)
    assert timings.edit > once > 0


# --- from noise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"guidance": 3.0, "negative": OTHER}])
def test_generation_is_that_of_the_pipeline(editor: Editor, options: dict[str, Any]) -> None:
    pipe = tiny.pipeline()
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    expected = pipe(
        SOURCE,
        latents=noise,
        num_inference_steps=4,
        guidance_scale=options.get("guidance", 1.0),
        negative_prompt=options.get("negative"),
    ).images[0]
    assert same(editor.generate(SOURCE, steps=4, seed=3, **options), expected, ONE_LEVEL)


def test_an_image_of_a_batch_has_its_own_seed(editor: Editor) -> None:
    together = editor.generate([SOURCE, SOURCE, OTHER], steps=4, seed=7)
    assert not same(together[0], together[1])
    for n, prompt in enumerate([SOURCE, SOURCE, OTHER]):
        assert same(together[n], editor.generate(prompt, steps=4, seed=7 + n), ONE_LEVEL)
    assert editor.generate(SOURCE, steps=1, size=(50, 40)).size == (50, 40)


def test_what_is_not_asked_for_is_as_the_model_is_best_used(tmp_path: Path) -> None:
    folder = tiny.save(tiny.pipeline(), tmp_path / "model")
    (folder / "rnri.json").write_text('{"steps": 3, "guidance": 2.0}')
    editor = Editor.from_pretrained(folder, device="cpu")
    source = editor.invert(picture(), SOURCE, inverter="explicit")
    assert (len(source.schedule), source.guidance) == (3, 1.0)
    assert same(editor.edit(source, TARGET).picture, editor.edit(source, TARGET, guidance=2.0).picture)
    assert same(editor.generate(SOURCE), editor.generate(SOURCE, steps=3, guidance=2.0))


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prompt": "  "}, "the prompt '  ' is empty: say what"),
        ({"steps": 0}, "steps=0 is out of range: give a whole number from 1"),
        ({"steps": 1001}, "steps=1001 is out of range: give a whole number from 1 to 1000"),
        ({"strength": 0.1}, r"strength=0\.1 is out of range: give 0\.25 to 1"),
        ({"guidance": -1.0}, r"guidance=-1\.0 is out of range: give 0 to 100"),
        ({"guidance": float("nan")}, "guidance=nan is out of range"),
        ({"seed": -1}, "seed=-1 is out of range: give a whole number"),
        ({"seed": 2**63}, "seed=9223372036854775808 is out of range"),
        ({"seed": 0.5}, r"seed=0\.5 is out of range"),
        ({"inverter": "magic"}, "magic"),
        ({"inverter": "gnri:magic=1"}, "magic"),
        ({"iterations": 0}, "iterations=0"),
        ({"image": "nowhere.png"}, "nowhere.png does not exist"),
        ({"image": torch.zeros(2, 3, 32, 32)}, "batch of 2 images"),
    ],
)
def test_what_cannot_be_inverted(editor: Editor, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        invert(editor, **options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prompt": ""}, "the prompt '' is empty"),
        ({"prompt": [TARGET, " "]}, "the prompt ' ' is empty"),
        ({"prompt": []}, "no prompt"),
        ({"prompt": TARGET, "guidance": 101.0}, r"guidance=101\.0 is out of range"),
        ({"prompt": TARGET, "negative": OTHER}, "negative prompt 'a small green cube' has no effect at guidance 1"),
        ({"prompt": TARGET, "size": (0, 10)}, r"size=\(0, 10\) is out of range"),
    ],
)
def test_what_cannot_be_edited(editor: Editor, inversion: Inversion, options: dict[str, Any], complaint: str) -> None:
    for draw in (lambda **o: editor.edit(inversion, **o), editor.generate):
        with pytest.raises(ValueError, match=complaint):
            draw(**options)
