"""Hold, the control of an edit that is told nothing: what stays, and what is let go."""

from __future__ import annotations

import pytest
import torch

from rnri import Inversion
from rnri.controls import Job
from rnri.controls.hold import Hold
from rnri.editor import Editor
from tests import tiny
from tests.test_editor import SOURCE, TARGET, picture


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture(scope="module")
def source(editor: Editor) -> Inversion:
    return editor.invert(picture(), SOURCE, solver="fixed-point", budget=12, steps=4, correct=True)


def test_hold_is_usual_where_there_are_corrections(editor: Editor, source: Inversion) -> None:
    drawn = [editor.draw(source, [TARGET], controls=controls).latents[-1] for controls in (None, ["hold"], ())]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    without = editor.invert(picture(), SOURCE, solver="fixed-point", budget=12, steps=4)
    drawn = [editor.draw(without, [TARGET], controls=controls).latents[-1] for controls in (None, ())]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_hold_keeps_what_the_prompts_agree_on(editor: Editor, source: Inversion, guidance: float) -> None:
    """Guidance changes a prediction everywhere, the prompt itself nothing where it says the same."""
    same_words = editor.draw(source, [SOURCE], guidance=guidance)
    assert torch.equal(same_words.latents[-1], source.clean)
    assert same_words.nfe == len(source.schedule) * (1 if guidance == 1 else 2)
    rounded = editor.draw(source, [SOURCE], guidance=guidance, controls=["hold:threshold=1"])
    assert torch.equal(rounded.latents[-1], source.clean)


def test_hold_sees_what_keep_difference_pays_for(editor: Editor, source: Inversion) -> None:
    """Its map is that of the two predictions at the first step, here asked of the network."""
    step, z = source.schedule[0], source.noise
    seen = [step.image(editor.denoiser([prompt]), z) for prompt in (SOURCE, TARGET)]
    heat = (seen[1] - seen[0]).abs().mean(1, keepdim=True)
    threshold = heat.median().item() / heat.max().item()
    drawn = editor.draw(source, [TARGET], controls=[f"hold:threshold={threshold},grow=0,soft=0"])
    held = (heat < heat.median() * 0.749).expand_as(z)
    assert 0.1 < held.float().mean().item() < 0.7
    assert torch.equal(drawn.latents[-1][held], source.clean[held])


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_edges_of_hold_are_as_soft_after_any_number_of_steps(editor: Editor, steps: int) -> None:
    """What all steps together leave of a difference is the fourth power of the mask, however many they are."""
    source = editor.invert(picture(), SOURCE, solver="auto", steps=steps)
    bound = Hold(threshold=0.5, grow=0, fade=1.0).bind(Job(editor.model, source, (TARGET,), False, slice(1), 77))
    said = editor.denoiser([TARGET])(source.noise, source.schedule[0].t)
    bound.observe(source.noise, said, said)
    mask, left = 1 - torch.as_tensor(bound.kept()), torch.ones_like(source.noise)
    for k in range(steps):
        left = bound.blend(k, source.latents[k + 1] + left) - source.latents[k + 1]
    assert 0 < mask.min() < 0.9
    torch.testing.assert_close(left, (mask**4).expand_as(left), atol=1e-5, rtol=0)


def test_hold_with_nothing_held_fades_corrections(editor: Editor, source: Inversion) -> None:
    faded = editor.draw(source, [TARGET], controls=["hold:threshold=0,fade=0.75"])
    partly = editor.draw(source, [TARGET], controls=["residual:factor=0.25"])
    torch.testing.assert_close(faded.latents[-1], partly.latents[-1])
