"""AutomaticMask, the control of an edit that is told nothing: what stays, and what is let go."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from rnri_core.controls.automatic_mask import AutomaticMask, _AutomaticMask
from rnri_core.controls.base import Context, Prediction

from rnri import Inversion
from rnri.editing.editor import Editor
from tests import tiny
from tests.test_editor import SOURCE, TARGET, picture


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture(scope="module")
def source(editor: Editor) -> Inversion:
    return editor.invert(picture(), SOURCE, inverter="fixed-point", iterations=12, steps=4, noise_maps=True)


def test_it_is_the_default_where_there_are_noise_maps(editor: Editor, source: Inversion) -> None:
    drawn = [
        editor.sample(source, [TARGET], controls=controls).latents for controls in ("auto", ["automatic-mask"], ())
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    without = editor.invert(picture(), SOURCE, inverter="fixed-point", iterations=12, steps=4)
    drawn = [editor.sample(without, [TARGET], controls=controls).latents for controls in ("auto", ())]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_it_keeps_what_the_prompts_agree_on(editor: Editor, source: Inversion, guidance: float) -> None:
    """Guidance changes a prediction everywhere, the prompt itself nothing where it says the same."""
    same_words = editor.sample(source, [SOURCE], guidance=guidance)
    assert torch.equal(same_words.latents, source.clean)
    assert same_words.nfe == len(source.schedule) * (1 if guidance == 1 else 2)
    rounded = editor.sample(source, [SOURCE], guidance=guidance, controls=["automatic-mask:threshold=1"])
    assert torch.equal(rounded.latents, source.clean)


def test_predictions_are_those_at_the_latents_where_the_network_gets_them_scaled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Euler's steps hand z/√(σ² + 1) to the network; x̂ is that of z, so equal prompts change nothing."""
    euler = EulerDiscreteScheduler.from_config(tiny.scheduler().config)
    editor = Editor.from_pipe(tiny.pipeline(noise=euler))
    source = editor.invert(picture(), SOURCE, inverter="fixed-point", iterations=12, steps=4, noise_maps=True)
    assert source.schedule[0].scale < 0.5
    differences: list[torch.Tensor] = []
    own = _AutomaticMask._mask

    def recorded(self: _AutomaticMask, *both: torch.Tensor) -> torch.Tensor:
        differences.append(both[1])
        return own(self, *both)

    monkeypatch.setattr(_AutomaticMask, "_mask", recorded)
    sampled = editor.sample(source, [SOURCE])
    assert differences[0].abs().max() < 1e-3
    torch.testing.assert_close(sampled.latents, source.clean)


@pytest.fixture(scope="module")
def seen(editor: Editor, source: Inversion) -> list[torch.Tensor]:
    """What the network sees in the noise, told the source and the target prompt: asked of it."""
    return [source.schedule[0].predict_x0(editor.denoiser([prompt]), source.noise) for prompt in (SOURCE, TARGET)]


@pytest.mark.parametrize("sure", [False, True])
def test_its_map_is_that_of_the_two_predictions(
    editor: Editor, source: Inversion, seen: list[torch.Tensor], sure: bool
) -> None:
    """Its map is that of the two predictions at the first step; a network that is sure of the source has smaller ones
    count."""
    heat = (seen[1] - seen[0]).abs().mean(1, keepdim=True)
    least, error = heat.median(), heat.quantile(0.3)
    away = error if sure else 10 * heat.max()
    known = knowing(source, seen[0] + away)
    drawn = editor.sample(known, [TARGET], controls=[f"automatic-mask:threshold={least / heat.max()},dilate=0,blur=0"])
    held = heat < (error if sure else least) * 0.749
    let_go = heat > (error if sure else least) * 1.251
    assert 0.1 < held.float().mean().item() < 0.7
    assert torch.equal(drawn.latents[held.expand_as(known.clean)], known.clean[held.expand_as(known.clean)])
    assert 0.1 < let_go.float().mean().item() < 0.9
    assert (drawn.latents != known.clean).any(1, keepdim=True)[let_go].all()


def knowing(source: Inversion, clean: torch.Tensor) -> Inversion:
    """The inversion with another clean end."""
    way = source.trajectory
    return replace(source, trajectory=replace(way, latents=(*way.latents[:-1], clean)))


def first_mask(state: _AutomaticMask, z: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The mask of a network output at the first step."""
    state.blend(0, z, Prediction(z, output, output))
    assert state.changed is not None
    return state.changed


def test_edges_of_the_mask_are_as_soft_as_the_prediction_error_is_large(
    editor: Editor, source: Inversion, seen: list[torch.Tensor]
) -> None:
    def mask(error: float) -> torch.Tensor:
        known = knowing(source, seen[0] + error)
        output = editor.denoiser([SOURCE])(known.noise, known.schedule[0].t)
        output[..., :3] += 5  # the left changes
        return first_mask(_AutomaticMask(Context(source=known), AutomaticMask()), known.noise, output)

    steepest = [torch.diff(mask(error), dim=-1).abs().max().item() for error in (0.1, 0.2, 0.3, 5.0)]
    assert steepest[0] > steepest[1] > steepest[2] == pytest.approx(steepest[3])


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_edges_of_the_mask_are_as_soft_after_any_number_of_steps(editor: Editor, steps: int) -> None:
    """What all steps together leave of a difference is the fourth power of the mask, however many they are."""
    source = editor.invert(picture(), SOURCE, inverter="auto", steps=steps)
    state = _AutomaticMask(Context(source=source), AutomaticMask(threshold=0.5, dilate=0))
    output = editor.denoiser([TARGET])(source.noise, source.schedule[0].t)
    mask, left = first_mask(state, source.noise, output), torch.ones_like(source.noise)
    for k in range(steps):
        prediction = Prediction(source.noise, output, output)
        left = state.blend(k, source.latents[k + 1] + left, prediction) - source.latents[k + 1]
    assert 0 < mask.min() < 0.9
    torch.testing.assert_close(left, (mask**4).expand_as(left), atol=1e-5, rtol=0)


@pytest.mark.parametrize("solved", [False, True])
def test_it_removes_the_prediction_error_of_the_source(editor: Editor, source: Inversion, solved: bool) -> None:
    """That is x₀ − x̂, as far as something takes its place: the whole edit again by hand, x̂ asked of the network."""
    if not solved:
        source = editor.invert(picture(), SOURCE, steps=8)
    assert source.solved == solved
    assert source.noise_maps is not None
    told, asked = editor.denoiser([SOURCE]), editor.denoiser([TARGET])
    z, limited = source.noise, []
    for step, latents, delta in zip(source.schedule, source.latents, source.noise_maps, strict=False):
        seen = step.predict_x0(told, latents)
        unsaid, most = 0.75 * (source.clean - seen), (step.predict_x0(asked, z) - seen).abs()
        limited.append((unsaid.abs() > most).float().mean().item())
        z = step.denoise(asked, z) + delta - step.weight * torch.minimum(unsaid.abs(), most) * unsaid.sign()
    assert 0.01 < sum(limited) / len(limited) < 1
    faded = editor.sample(source, [TARGET], controls=["automatic-mask:threshold=0,attenuation=0.75"])
    torch.testing.assert_close(faded.latents, z, atol=1e-4, rtol=1e-4)


def test_with_no_mask_and_no_attenuation_it_is_no_control(editor: Editor, source: Inversion) -> None:
    plain = editor.sample(source, [TARGET], controls=())
    assert torch.equal(
        editor.sample(source, [TARGET], controls=["automatic-mask:threshold=0,attenuation=0"]).latents, plain.latents
    )
