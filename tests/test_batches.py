"""Pictures inverted together are what they are alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rnri_core.inversion.config import InversionConfig

from rnri.editing.batch import invert_all
from rnri.editing.editor import Editor
from tests import tiny

PROMPTS = ["a red ball on sand", "a small green cube", "a blue ball"]


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


def pictures() -> list[np.ndarray]:
    """Of two sizes, which the model scales to the same."""
    draw = np.random.default_rng(0).integers
    return [draw(0, 256, (*size, 3), dtype=np.uint8) for size in ((20, 30), (20, 30), (40, 60))]


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("inverter", ["auto", "gnri", "anderson"])
def test_a_batch_equals_one_by_one(editor: Editor, inverter: str, guidance: float) -> None:
    config = InversionConfig(inverter=inverter, steps=4, guidance=guidance, seed=3)
    together = invert_all(editor, pictures(), PROMPTS, config)
    for found, image, prompt in zip(together, pictures(), PROMPTS, strict=True):
        alone = editor.invert(image, prompt, config)
        torch.testing.assert_close(found.noise, alone.noise, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found.residual, alone.residual, rtol=1e-2, atol=1e-3)
        assert (found.prompt, found.size, found.model, found.guidance, found.seed, found.calls) == (
            alone.prompt,
            alone.size,
            alone.model,
            alone.guidance,
            alone.seed,
            alone.calls,
        )
        assert editor.edit(found, PROMPTS[0]).picture.size == found.size


def test_what_was_encoded_before_serves_as_well(editor: Editor) -> None:
    encoded = [editor.encode(image) for image in pictures()]
    one, other = (invert_all(editor, each, PROMPTS, InversionConfig(steps=2))[2] for each in (encoded, pictures()))
    assert torch.equal(one.noise, other.noise)


def test_what_does_not_fit_is_said(editor: Editor) -> None:
    with pytest.raises(ValueError, match="3 images and 2 prompts: give a prompt for each"):
        invert_all(editor, pictures(), PROMPTS[:2])
    with pytest.raises(ValueError, match="0 images and 0 prompts"):
        invert_all(editor, [], [])
    tall = np.zeros((60, 20, 3), np.uint8)
    with pytest.raises(
        ValueError, match=r"images of \(30, 20\) and \(20, 60\) pixels have latents of different shapes"
    ):
        invert_all(editor, [pictures()[0], tall], PROMPTS[:2])


@pytest.mark.parametrize("guidance", [-5.0, float("nan")])
def test_what_the_editor_refuses_is_refused(editor: Editor, guidance: float) -> None:
    with pytest.raises(ValueError, match=r"guidance=.* is out of range: give 0 to 100"):
        invert_all(editor, pictures(), PROMPTS, InversionConfig(guidance=guidance))
    with pytest.raises(ValueError, match="the prompt ' ' is empty: say what the image shows"):
        invert_all(editor, pictures(), [*PROMPTS[:2], " "])
