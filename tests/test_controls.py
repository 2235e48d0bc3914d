"""Controls: nothing when neutral, something otherwise, the source at their limits, and the model as it was after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rnri import Inversion
from rnri.controls import CONTROLS, AnyControl, AttentionState, EditContext, ModelControl, control, controls
from rnri.controls.alignment import align
from rnri.controls.image_mask import ImageMask
from rnri.editing.editor import Editor
from rnri.models.attention import TokenSpans
from rnri.models.attention_hooks import AttentionLayer
from tests import tiny
from tests.test_editor import ONE_LEVEL, OTHER, SOURCE, TARGET, picture, same

FIELDS: dict[str, dict[str, Any]] = {
    "local-blend": {"level": 0},  # the tiny network has no attention further in
    "mask": {"mask": np.pad(np.ones((20, 10)), ((0, 0), (10, 10)))},
    "reweight": {"word": "ball", "weight": 5.0},
    "negative": {"prompt": OTHER},
}
"""What controls that have no effect by default are given."""
BESIDE = [name for name, kind in CONTROLS.items() if getattr(kind, "needs_source", False) and name != "reweight"]


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture(scope="module")
def source(editor: Editor) -> Inversion:
    return editor.invert(picture(), SOURCE, inverter="fixed-point", iterations=12, steps=4, noise_maps=True)


@pytest.fixture(autouse=True)
def global_state_untouched(editor: Editor) -> Iterator[None]:
    before, processors = torch.get_rng_state(), dict(unet(editor).attn_processors)
    yield
    assert torch.equal(torch.get_rng_state(), before)
    assert unet(editor).attn_processors == processors
    assert not any(module._forward_hooks for module in unet(editor).modules())


def unet(editor: Editor) -> Any:
    return editor.model.unet


def working(name: str) -> AnyControl:
    return CONTROLS[name](**FIELDS.get(name, {}))


@dataclass(frozen=True)
class Spy(ModelControl):
    """Remembers the attention probabilities as they are used, by step and layer."""

    seen: dict[tuple[int, AttentionLayer], Tensor]
    neutral: ClassVar = {"seen": None}

    def state(self, context: EditContext) -> AttentionState:
        seen = self.seen

        class Watching(AttentionState):
            def needs_probabilities(self, step: int, layer: AttentionLayer) -> bool:
                return True

            def observe_probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> None:
                seen[step, layer] = probabilities

        return Watching(context)


# --- nothing, something -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTROLS)
def test_a_neutral_control_changes_not_a_bit(editor: Editor, source: Inversion, name: str) -> None:
    neutral = CONTROLS[name](**{**FIELDS.get(name, {}), **CONTROLS[name].neutral})
    for guidance in (1.0, 2.0):
        plain = editor.sample(source, [TARGET], guidance=guidance, controls=())
        drawn = editor.sample(source, [TARGET], guidance=guidance, controls=[neutral])
        assert torch.equal(plain.latents, drawn.latents)
        assert (plain.nfe, drawn.masks) == (drawn.nfe, ())


@pytest.mark.parametrize("name", CONTROLS)
def test_any_other_changes_something(editor: Editor, source: Inversion, name: str) -> None:
    plain = editor.sample(source, [TARGET], guidance=2.0, controls=())
    drawn = editor.sample(source, [TARGET], guidance=2.0, controls=[working(name)])
    assert not torch.equal(plain.latents, drawn.latents)
    assert drawn.latents.isfinite().all()


@pytest.mark.parametrize("name", BESIDE)
def test_beside_an_equal_source_there_is_nothing_to_take(editor: Editor, source: Inversion, name: str) -> None:
    drawn = editor.sample(source, [SOURCE], guidance=1.0, controls=[working(name)])
    torch.testing.assert_close(drawn.latents, source.clean, rtol=1e-3, atol=1e-4)
    assert drawn.nfe == 2 * len(source.schedule)


@pytest.mark.parametrize("name", CONTROLS)
def test_several_prompts_equal_one_by_one(editor: Editor, source: Inversion, name: str) -> None:
    prompts = [TARGET, f"{TARGET} on the left"]
    together = editor.sample(source, prompts, guidance=2.0, controls=[working(name)])
    for n, prompt in enumerate(prompts):
        alone = editor.sample(source, [prompt], guidance=2.0, controls=[working(name)])
        torch.testing.assert_close(together.latents[n : n + 1], alone.latents, rtol=1e-3, atol=1e-4)


def test_all_at_once(editor: Editor, source: Inversion) -> None:
    everything = [working(name) for name in CONTROLS]
    result = editor.edit(source, TARGET, guidance=2.0, controls=everything).picture
    assert result.size == (30, 20)
    assert not same(result, editor.edit(source, TARGET, guidance=2.0, controls=()).picture)


# --- strength ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["start-step", "embedding"])
def test_strength_leads_from_the_source_to_the_edit(editor: Editor, source: Inversion, name: str) -> None:
    drawn = [
        editor.sample(source, [TARGET], controls=[f"{name}:strength={strength}"]).latents
        for strength in (0, 0.1, 0.3, 0.5, 0.8, 0.99, 1)
    ]
    torch.testing.assert_close(drawn[0], source.clean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(drawn[-2], drawn[-1], rtol=0, atol=0.05)
    lengths = [(z - source.clean).norm().item() for z in drawn]
    assert lengths == sorted(lengths)


def test_depth_saves_the_steps_it_leaves_out(editor: Editor, source: Inversion) -> None:
    drawn = [
        editor.sample(source, [TARGET], guidance=1.0, controls=[f"start-step:strength={s}"]) for s in (0, 0.5, 0.6)
    ]
    assert [each.nfe for each in drawn] == [0, 2, 3]
    assert torch.equal(drawn[0].latents, source.clean)


def test_no_corrections_are_the_edit_of_an_inversion_without(editor: Editor, source: Inversion) -> None:
    without = editor.invert(picture(), SOURCE, inverter="fixed-point", iterations=12, steps=4)
    left_out = editor.sample(source, [TARGET], controls=["residual:factor=0"])
    torch.testing.assert_close(left_out.latents, editor.sample(without, [TARGET]).latents)
    with pytest.raises(ValueError, match="has no noise maps to scale: invert with noise_maps=True"):
        editor.sample(without, [TARGET], controls=["residual"])


# --- keeping ----------------------------------------------------------------------------------------------------


def test_outside_the_mask_is_the_autoencoders_picture_or_the_picture_itself(editor: Editor, source: Inversion) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 10:20] = 255
    hard = ImageMask(mask=mask, blur=0.0)
    bare = editor.edit(source, OTHER, controls=[hard]).picture
    pasted = editor.edit(source, OTHER, controls=[hard], paste=picture()).picture
    inside = mask > 0
    for result, expected in ((bare, np.asarray(editor.autoencoded(source))), (pasted, picture())):
        assert np.array_equal(np.asarray(result)[~inside], expected[~inside])
        assert not np.array_equal(np.asarray(result)[inside], expected[inside])
    assert np.array_equal(np.asarray(bare)[inside], np.asarray(pasted)[inside])


def test_masks_black_and_white(editor: Editor, source: Inversion, tmp_path: Path) -> None:
    for value, expected in ((0, editor.autoencoded(source)), (255, editor.edit(source, TARGET, controls=()).picture)):
        Image.new("L", (7, 9), value).save(tmp_path / "mask.png")
        assert same(
            editor.edit(source, TARGET, controls=[f"mask:mask={tmp_path / 'mask.png'}"]).picture, expected, ONE_LEVEL
        )


@pytest.mark.parametrize("name", ["diffedit-mask", "local-blend"])
def test_where_prompts_agree_all_is_kept(editor: Editor, source: Inversion, name: str) -> None:
    assert same(editor.edit(source, SOURCE, controls=[working(name)]).picture, editor.autoencoded(source))


def test_masks_of_several_controls_are_multiplied(editor: Editor, source: Inversion) -> None:
    left, right = np.zeros((20, 30)), np.zeros((20, 30))
    left[:, :15], right[:, 15:] = 1, 1
    halves = [ImageMask(mask=left, blur=0.0), ImageMask(mask=right, blur=0.0)]
    assert same(editor.edit(source, TARGET, controls=halves).picture, editor.autoencoded(source), ONE_LEVEL)


def test_there_must_be_something_to_paste_around(editor: Editor, source: Inversion) -> None:
    with pytest.raises(ValueError, match="nothing to paste: add a control with a mask"):
        editor.edit(source, TARGET, controls=["start-step:strength=0.5"], paste=picture())


# --- attention --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["refine", "replace"])
def test_words_in_common_are_attended_to_as_in_the_source(editor: Editor, source: Inversion, mode: str) -> None:
    seen: dict[tuple[int, AttentionLayer], Tensor] = {}
    copying = control(f"prompt-to-prompt:mode={mode},cross=0.5,layout=0.25")
    editor.sample(source, [TARGET], guidance=1.0, controls=[copying, Spy(seen)])
    changed = 2  # "blue", after the beginning of text and "a"
    for (k, layer), (theirs, ours) in seen.items():
        if not layer.cross:
            layout = layer.level >= 1 or layer.index == 0  # before the first layer all is equal in the first step
            assert torch.equal(theirs, ours) is (k < 1 and layout)
        elif k < 2:
            same_words = [n for n in range(ours.shape[-1]) if n != changed]
            assert torch.equal(theirs[..., same_words], ours[..., same_words])
            assert torch.equal(theirs[..., changed], ours[..., changed]) is (mode == "replace")
        else:
            assert not torch.equal(theirs, ours)


def test_a_word_that_is_not_there(editor: Editor, source: Inversion) -> None:
    with pytest.raises(ValueError, match="no word 'cube' to weight: give one of a, blue, ball, on, sand"):
        editor.sample(source, [TARGET], controls=["reweight:word=cube"])


def test_hooks_are_gone_after_an_exception(editor: Editor, source: Inversion) -> None:
    @dataclass(frozen=True)
    class Failing(ModelControl):
        neutral: ClassVar = {"needs_source": True}

        def state(self, context: EditContext) -> AttentionState:
            class Raises(AttentionState):
                def feature(self, step: int, hidden: Tensor) -> Tensor:
                    raise RuntimeError("on purpose")

            return Raises(context)

    with pytest.raises(RuntimeError, match="on purpose"):
        editor.edit(source, TARGET, controls=[working("masactrl"), Failing()])


def test_a_model_without_attention_says_so() -> None:
    pipe = tiny.pipeline()
    editor = Editor.from_pipe(pipe)
    source = editor.invert(picture(), SOURCE, steps=4)

    class Other(torch.nn.Module):
        """The same network under another class."""

        device, dtype, config = pipe.unet.device, pipe.unet.dtype, pipe.unet.config

        def forward(self, *args: Any, **options: Any) -> Any:
            return pipe.unet(*args, **options)

    editor.model.unet = Other()  # type: ignore[misc]
    assert editor.sample(source, [TARGET], controls=["start-step"]).nfe == 3
    with pytest.raises(TypeError, match="has no attention to hook: controls of attention need Stable Diffusion's UNet"):
        editor.sample(source, [TARGET], controls=["masactrl"])


# --- words ------------------------------------------------------------------------------------------------------


def spans(text: str) -> TokenSpans:
    """Words of as many tokens as they have syllables, apart by hyphens."""
    words: list[tuple[str, tuple[int, ...]]] = []
    position = 1
    for word in text.split():
        count = word.count("-") + 1
        words.append((word, tuple(range(position, position + count))))
        position += count
    return tuple(words)


@pytest.mark.parametrize("replace", [True, False])
def test_alignment_shares_out_attention(replace: bool) -> None:
    found = align(spans("a cat sat"), spans("a ti-ger sat down"), 9, replace=replace)
    assert (found.removed, found.added) == ((2,), (2, 3, 5))
    columns = found.mapping.sum(0).tolist()
    assert columns == [1, 1, 0.5 * replace, 0.5 * replace, 1, 0, 1, 1, 1]  # 1/len(target): the cat's, and no more
    assert found.mapping[2, 2:4].tolist() == [0.5 * replace] * 2
    assert found.mapping[3, 4] == 1
    assert found.mapping[4, 6] == 1  # the end of text
    shorter = align(spans("a ti-ger sat down"), spans("a cat sat"), 9, replace=replace)
    assert shorter.mapping[2:4, 2].tolist() == [float(replace)] * 2  # both tokens' attention in one
    longer = align(spans("a ti-ger-cub sat"), spans("a ti-ger sat"), 9, replace=True)
    assert longer.mapping[2:5, 2:4].tolist() == [[0.5, 0.5]] * 3
    for each in (found, shorter, longer):
        words = each.mapping[each.mapping.sum(1) > 0]
        torch.testing.assert_close(
            words.sum(1)[:-1], torch.ones(len(words) - 1)
        )  # handed over whole; the last is padding


def test_alignment_of_equal_prompts_is_the_identity() -> None:
    words = spans("the ti-ger sat on the sand")
    assert torch.equal(align(words, words, 12, replace=True).mapping, torch.eye(12))


# --- specs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("magic", "no control is called 'magic'; there are start-step, embedding"),
        ("start-step:amount=1", "control 'start-step' has no field 'amount'; its fields are strength"),
        ("start-step:strength=2", "control 'start-step': strength=2.0 is outside 0 to 1"),
        ("prompt-to-prompt:mode=swap", "mode='swap' is not one of refine, replace"),
    ],
)
def test_specs_that_make_no_sense(spec: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        control(spec)


def test_specs_quote_what_holds_marks() -> None:
    chosen = controls("mask:mask='a,b;c.png',blur=1; negative:prompt=\"a, 'b'\"")
    assert chosen == (ImageMask(mask="a,b;c.png", blur=1.0), CONTROLS["negative"](prompt="a, 'b'"))  # type: ignore[call-arg]


def test_two_negative_prompts_are_one_too_many(editor: Editor, source: Inversion) -> None:
    with pytest.raises(ValueError, match="two negative prompts are given: keep one"):
        editor.edit(source, TARGET, guidance=2.0, negative=OTHER, controls=["negative:of=source"])
    with pytest.raises(ValueError, match="has no effect at guidance 1"):
        editor.edit(source, TARGET, guidance=1.0, controls=["negative:of=source"])


def test_guidance_away_from_the_source_is_pseudo_guidance(editor: Editor, source: Inversion) -> None:
    """At guidance g, negative:of=source and pseudo-guidance of weight g are the same combination."""
    one = editor.sample(source, [TARGET], guidance=2.0, controls=["negative:of=source"])
    other = editor.sample(source, [TARGET], guidance=1.0, controls=["pseudo-guidance:weight=2"])
    torch.testing.assert_close(one.latents, other.latents)


# --- again ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("specs", [[], ["diffedit-mask"], ["start-step:strength=0.6", "masactrl"]])
def test_an_edit_is_an_inversion_of_itself(editor: Editor, source: Inversion, specs: list[str]) -> None:
    once = editor.edited(source, TARGET, guidance=2.0, controls=specs)
    drawn = editor.sample(source, [TARGET], guidance=2.0, controls=specs)
    assert torch.equal(once.clean, drawn.latents)
    assert (once.prompt, once.guidance, once.nfe) == (TARGET, 2.0, len(source.schedule))
    assert same(editor.reconstruct(once), editor.autoencoded(once), ONE_LEVEL)
    assert not same(editor.edit(once, OTHER, guidance=2.0).picture, editor.reconstruct(once))


def test_edits_in_a_row_lose_nothing(editor: Editor) -> None:
    source = editor.invert(picture(), SOURCE, inverter="fixed-point", iterations=12, steps=4)
    there = editor.edited(source, TARGET, guidance=1.0, controls=())
    back = editor.edited(there, SOURCE, guidance=1.0, controls=())
    torch.testing.assert_close(back.clean, source.clean, rtol=1e-3, atol=1e-4)
