"""The whole way for every family: a picture of any size in, an inversion, edits of that size out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.inversion import Inversion
from torch import Tensor

from rnri import models
from rnri.controls.conditions import between, joined
from rnri.editing.batch import invert_all
from rnri.editing.editor import Editor
from tests import tiny_families
from tests.test_editor import ONE_LEVEL, picture, same
from tests.tiny_families import CASES

SOURCE, TARGET, LONGER = "a red ball", "a blue ball", "a small green cube on the left on sand"
NEGATIVE = "a ball on sand"
STEPS = 2
# a few network calls in another batch and order: 1e-6 each, times the growth
FLOAT32: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture(autouse=True)
def global_state_untouched() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module", params=CASES)
def editor(request: pytest.FixtureRequest) -> Editor:
    return Editor(models.from_pipe(tiny_families.build(request.param)))


def settings(editor: Editor) -> dict[str, Any]:
    """A small resolution that is not square, and guidance to invert with, where there is any."""
    side = 2 * editor.model.multiple if editor.model.multiple > 4 else 16
    return {
        "resolution": (2 * side, side),
        "guidance": 1.0 if editor.model.guidance == "none" else 2.0,
        "steps": STEPS,
    }


@pytest.fixture(scope="module")
def inversion(editor: Editor) -> Inversion:
    return editor.invert(picture(19, 37), SOURCE, **settings(editor))


def other_guidance(editor: Editor) -> dict[str, Any]:
    """Of an edit: another scale than the inversion's, and a negative prompt, as far as the model has them."""
    if editor.model.guidance == "classifier-free":
        return {"guidance": 3.5, "negative": NEGATIVE}
    return {"guidance": 1.0 if editor.model.guidance == "none" else 3.5}


def test_a_picture_comes_back_and_is_edited_at_its_size(editor: Editor, inversion: Inversion) -> None:
    assert same(editor.reconstruct(inversion), editor.autoencoded(inversion), ONE_LEVEL)
    told = other_guidance(editor)
    together = editor.edit(inversion, [TARGET, LONGER], **told).pictures
    for edited, prompt in zip(together, [TARGET, LONGER], strict=True):
        assert edited.size == (37, 19)
        assert same(edited, editor.edit(inversion, prompt, **told).picture, ONE_LEVEL)


def test_words_guidance_and_a_negative_prompt_each_count(editor: Editor, inversion: Inversion) -> None:
    told = other_guidance(editor) | {"controls": ["automatic-mask:threshold=0"]}  # at which nothing is held
    drawn = editor.sample(inversion, [TARGET, LONGER], **told).latents
    alone = [editor.sample(inversion, [prompt], **told).latents for prompt in (TARGET, LONGER)]
    assert apart(drawn, torch.cat(alone)) < 1e-5
    assert apart(alone[0], alone[1]) > 1e-4
    if told["guidance"] != 1:
        assert apart(editor.sample(inversion, [LONGER], **told | {"guidance": 2.0}).latents, alone[1]) > 1e-4
    if "negative" in told:
        assert apart(editor.sample(inversion, [LONGER], **told | {"negative": ""}).latents, alone[1]) > 1e-4


def apart(one: Tensor, other: Tensor) -> float:
    return float(((one - other).norm() / other.norm()).item())


def test_pictures_inverted_together_are_what_they_are_alone(editor: Editor, inversion: Inversion) -> None:
    pictures = [picture(19, 37), picture(40, 30)[::-1].copy()]
    together = invert_all(editor, pictures, [SOURCE, LONGER], InversionConfig(**settings(editor)))
    alone = [inversion, editor.invert(pictures[1], LONGER, **settings(editor))]
    for found, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(found.noise, expected.noise, **FLOAT32)
        assert (found.prompt, found.size, found.calls) == (expected.prompt, expected.size, expected.calls)
        assert same(editor.edit(found, TARGET).picture, editor.edit(expected, TARGET).picture, ONE_LEVEL)


def test_prompts_of_any_lengths_go_together(editor: Editor, inversion: Inversion) -> None:
    model = editor.model
    short, long = model.embed([SOURCE]), model.embed([LONGER])
    z, t = inversion.noise, inversion.schedule[0].t
    ends = [model.denoiser(each)(z, t) for each in (short, long)]
    both = model.denoiser(joined([short, long]))(z.repeat(2, 1, 1, 1), t)
    torch.testing.assert_close(both, torch.cat(ends), **FLOAT32)
    for (one, first), (other, last) in permutations(zip((short, long), ends, strict=True)):
        way = [model.denoiser(between(one, other, share))(z, t) for share in (0.0, 0.5, 1.0)]
        torch.testing.assert_close(way[0], first, **FLOAT32)
        torch.testing.assert_close(way[2], last, **FLOAT32)
        assert not any(torch.allclose(way[1], end, rtol=0, atol=1e-6) for end in ends)


def test_what_is_worked_at_is_what_was_asked_for(editor: Editor) -> None:
    multiple = editor.model.multiple
    shape = tuple(editor.encode(np.zeros((9, 9, 3), np.uint8), resolution=(3 * multiple, 4 * multiple)).latents.shape)
    assert shape == (1, *editor.model.latent_shape((4 * multiple, 3 * multiple)))
    with pytest.raises(
        ValueError, match=rf"multiples of {multiple} up to {editor.model.max_side}, such as {4 * multiple}x{multiple}$"
    ):
        editor.encode(picture(), resolution=(4 * multiple + 1, 0))


@pytest.mark.parametrize("name", ["sd3", "lumina2", "aura-flow", "z-image"])
def test_no_side_is_longer_than_the_network_has_places_for(name: str) -> None:
    model = models.from_pipe(tiny_families.build(name))
    editor, most, multiple = Editor(model), model.max_side, model.multiple
    assert most < 16384
    z = editor.encode(picture(), resolution=(most, multiple)).latents
    assert model.denoiser(model.embed([SOURCE]))(z, 499.0).isfinite().all()
    for resolution in ((most + multiple, multiple), (multiple, most + multiple)):
        with pytest.raises(ValueError, match=rf"up to {most}, such as "):
            editor.encode(picture(), resolution=resolution)
    model.image_size = (most, most)  # in the shape of a panorama it would be twice as wide
    assert editor.encode(picture(8, 80)).latents.shape[1:] == model.latent_shape((most // 2, most))
