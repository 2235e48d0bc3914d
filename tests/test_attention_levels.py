"""Controls of attention on networks with the levels of the published ones, at their sizes and at odd ones."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from rnri_core.inversion.inversion import Inversion
from torch import Tensor
from torch.nn import functional

from rnri.controls import AttentionState, EditContext, ModelControl, control
from rnri.controls.local_blend import LocalBlend
from rnri.editing.editor import Editor
from rnri.models.attention import _Current, _Processor, _residual, attending, attention_layers
from rnri.models.attention_hooks import AttentionHook, AttentionLayer, Projections, grid
from tests import tiny, tiny_levels
from tests.test_editor import SOURCE, TARGET

SIZES = [("sd", 64, 64), ("sd", 64, 48), ("sd", 37, 21), ("sd", 20, 13), ("sd", 9, 3)]
SIZES += [("sdxl", 128, 128), ("sdxl", 64, 64), ("sdxl", 80, 52), ("sdxl", 61, 45), ("sdxl", 20, 13)]
"""Latents of SD 1.5 at 512², SDXL at 1024² and 512², and others: no multiples of 8, and 3 cells wide."""
ACTING = {
    "local-blend": "local-blend:threshold=0.9,dilate=0",
    "layout": "prompt-to-prompt:cross=0,layout=1",
    "words": "prompt-to-prompt:cross=1,layout=0",
    "reweight": "reweight:word=ball,weight=4",
    "masactrl": "masactrl",
    "plug-and-play": "plug-and-play:features=0",
    "features": "plug-and-play:attention=0,features=1",
}


@pytest.fixture(scope="module")
def editors() -> dict[str, Editor]:
    return {kind: Editor.from_pipe(tiny_levels.pipeline(kind)) for kind in tiny_levels.LEVELS}


@dataclass(frozen=True)
class Spy(ModelControl):
    """Remembers keys as later layers take them, probabilities as they come and as they are used, by step and layer."""

    keys: dict[tuple[int, AttentionLayer], Tensor]
    raw: dict[tuple[int, AttentionLayer], Tensor]
    used: dict[tuple[int, AttentionLayer], Tensor]
    neutral: ClassVar = {"keys": None}

    @classmethod
    def new(cls) -> Spy:
        return cls({}, {}, {})

    def state(self, context: EditContext) -> AttentionState:
        spy = self

        class Watching(AttentionState):
            def project(self, step: int, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> Projections:
                spy.keys[step, layer] = k
                return q, k, v

            def needs_probabilities(self, step: int, layer: AttentionLayer) -> bool:
                return layer.cross

            def probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> Tensor:
                spy.raw[step, layer] = probabilities
                return probabilities

            def observe_probabilities(self, step: int, layer: AttentionLayer, probabilities: Tensor) -> None:
                spy.used[step, layer] = probabilities

        return Watching(context)


# --- levels -----------------------------------------------------------------------------------------------------


def test_the_grid_of_a_level_is_that_of_the_networks_own_convolutions() -> None:
    """At every latent size up to 160×160 and every level of any published network."""
    halve = Downsample2D(1, use_conv=True, padding=1, name="op").to("meta")
    sides = {n: [n] for n in range(1, 161)}
    for _ in range(4):
        for reached in sides.values():
            reached.append(halve(torch.empty(1, 1, reached[-1], 1, device="meta")).shape[2])
    for level in range(5):
        for height in range(1, 161):
            for width in range(1, 161):
                assert grid((height, width), level) == (sides[height][level], sides[width][level])


@pytest.mark.parametrize(("kind", "height", "width"), [*SIZES, ("sd", 1, 1), ("sd", 2, 160)])
def test_every_layer_has_the_grid_of_its_level(editors: dict[str, Editor], kind: str, height: int, width: int) -> None:
    editor, seen = editors[kind], {}

    class Counting(AttentionHook):
        def project(self, step: int, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> Projections:
            seen[layer] = q.shape[2]
            return q, k, v

    with attending(editor.model, [Counting()]), torch.no_grad():
        editor.denoiser([SOURCE])(torch.zeros(1, 4, height, width), 500.0)
    assert set(seen) == set(attention_layers(editor.model))
    assert seen == {layer: math.prod(grid((height, width), layer.level)) for layer in seen}


@pytest.mark.parametrize(
    ("kind", "parts"),
    [("sd", {"down": {0, 1, 2}, "mid": {3}, "up": {0, 1, 2}}), ("sdxl", {"down": {1, 2}, "mid": {2}, "up": {1, 2}})],
)
def test_levels_are_those_of_the_blocks(editors: dict[str, Editor], kind: str, parts: dict[str, set[int]]) -> None:
    found: dict[str, set[int]] = {}
    for layer in attention_layers(editors[kind].model):
        found.setdefault(layer.part, set()).add(layer.level)
    assert found == parts


# --- every control acts, at every size --------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "height", "width"), SIZES)
def test_controls_change_the_edit_and_none_fails(
    editors: dict[str, Editor], kind: str, height: int, width: int
) -> None:
    editor = editors[kind]
    source = tiny_levels.inverted(editor, height, width, steps=1)
    plain = editor.sample(source, [TARGET], guidance=1.0, controls=()).latents
    for name, spec in ACTING.items():
        drawn = editor.sample(source, [TARGET], guidance=1.0, controls=[spec])
        assert drawn.latents.isfinite().all(), name
        assert not torch.equal(drawn.latents, plain), name
        if name == "local-blend":
            (mask,) = drawn.masks
            assert mask.shape[-2:] == (height, width)
            assert 0 < mask.mean() < 1
            assert not torch.equal(drawn.latents, source.clean)


def test_the_layers_that_are_read_at_768(editors: dict[str, Editor]) -> None:
    """SD 2.1 at 768² has latents of 96²: the mask comes of grids of 24², more than 256 cells."""
    editor = editors["sd"]
    source = tiny_levels.inverted(editor, 96, 96, steps=1)
    drawn = editor.sample(source, [TARGET], guidance=1.0, controls=[ACTING["local-blend"]])
    assert 0 < drawn.masks[0].mean() < 1
    assert drawn.masks[0].reshape(24, 4, 24, 4).std((1, 3)).max() == 0


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("local-blend:level=7", "cross attention at level 7 for an image of 160×104: set level=0 or 1 or 2"),
        ("local-blend:level=3", "cross attention at level 3 for an image of 160×104: set level=0 or 1 or 2"),
        ("prompt-to-prompt:level=4", "self attention at level 4 or deeper for an image of 160×104: set a smaller"),
        ("masactrl:layers=1", "self attention after layers=1 for an image of 160×104: give a smaller share"),
    ],
)
def test_a_control_that_finds_no_layer_says_so(editors: dict[str, Editor], spec: str, complaint: str) -> None:
    editor = editors["sd"]
    source = tiny_levels.inverted(editor, 13, 20, steps=1)
    with pytest.raises(ValueError, match=complaint) as raised:
        editor.sample(source, [TARGET], controls=[spec])
    assert str(raised.value).startswith(editor.model.name)
    assert "\n" not in str(raised.value)
    assert editor.sample(source, [TARGET], guidance=1.0, controls=["prompt-to-prompt:level=4,layout=0"]).nfe == 2


def test_a_decoder_without_attention_takes_features_alone() -> None:
    bare = {"down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), "up_block_types": ("UpBlock2D",) * 4}
    editor = Editor.from_pipe(tiny_levels.pipeline("sd", **bare))
    source = tiny_levels.inverted(editor, 8, 8, steps=1)
    with pytest.raises(ValueError, match="no self attention in the decoder for an image of 64×64: set attention=0"):
        editor.sample(source, [TARGET], controls=["plug-and-play"])
    assert editor.sample(source, [TARGET], guidance=1.0, controls=["plug-and-play:attention=0"]).nfe == 2


def test_a_network_that_halves_otherwise_is_refused() -> None:
    editor = Editor.from_pipe(tiny_levels.pipeline("sd", downsample_padding=0))
    assert editor.sample(tiny_levels.inverted(editor, 16, 16), [TARGET], controls=["local-blend"]).masks
    with pytest.raises(ValueError, match="has no grid of 5×4 at level 2 for an image of 104×160: use another size"):
        editor.sample(tiny_levels.inverted(editor, 20, 13), [TARGET], controls=["local-blend"])


# --- Prompt-to-Prompt -------------------------------------------------------------------------------------------


def test_layout_is_copied_from_half_the_latents_side_on(editors: dict[str, Editor]) -> None:
    """32² of 64² cells and fewer, as the published code has it for real pictures."""
    editor, spy = editors["sd"], Spy.new()
    source = tiny_levels.inverted(editor, 16, 16)
    editor.sample(source, [TARGET], guidance=1.0, controls=["prompt-to-prompt:cross=0,layout=0.5", spy])
    for (k, layer), keys in spy.keys.items():
        if not layer.cross and layer.index:  # before the first layer all is equal in the first step
            assert torch.equal(keys[0], keys[1]) is (k == 0 and layer.level >= 1)


def weighed(editor: Editor, source: Inversion, *specs: str) -> Spy:
    spy = Spy.new()
    editor.sample(source, [TARGET], guidance=1.0, controls=[spy, *specs])
    return spy


def test_a_word_is_weighed_on_the_sources_attention_and_in_the_first_steps_alone(editors: dict[str, Editor]) -> None:
    """AttentionReweight: A_source of words in common times the weight while cross attention is replaced, then A."""
    editor = editors["sd"]
    source = tiny_levels.inverted(editor, 8, 8)
    spy = weighed(editor, source, "reweight:word=Ball,weight=-2,cross=0.5")
    blue, ball = 2, 3
    for (k, layer), used in spy.used.items():
        theirs, ours = spy.raw[k, layer]
        if k == 0:
            expected = theirs.clone()
            expected[..., ball] *= -2
            expected[..., blue] = ours[..., blue]
            torch.testing.assert_close(used[1], expected)
            assert torch.equal(used[0], theirs)
        else:
            assert torch.equal(used[1], ours)


def test_weights_meet_what_is_handed_over_in_any_order(editors: dict[str, Editor]) -> None:
    editor = editors["sd"]
    source = tiny_levels.inverted(editor, 8, 8)
    specs = ["reweight:word=ball,weight=3", "prompt-to-prompt:mode=replace,layout=0", "reweight:word=blue,weight=2"]
    spy = weighed(editor, source, *specs)
    for (k, layer), used in spy.used.items():
        expected = spy.raw[k, layer][0].clone()
        expected[..., 2] *= 2  # "blue", which took over from "red"
        expected[..., 3] *= 3
        torch.testing.assert_close(used[1], expected)
    drawn = [editor.sample(source, [TARGET], controls=each).latents for each in (specs, specs[::-1])]
    torch.testing.assert_close(*drawn)


def test_the_mask_is_the_published_local_blend(editors: dict[str, Editor]) -> None:
    """A pooled over 3×3, stretched to the nearest, by its most, above 0.3; of either prompt."""
    editor = editors["sd"]
    source = tiny_levels.inverted(editor, 24, 16)
    context = EditContext(source=source, model=editor.model, prompts=(TARGET,), length=tiny.LENGTH, targets=slice(1, 2))
    state = LocalBlend().state(context)
    state.maps.heat = torch.rand(2, 1, 1, 6, 4, generator=torch.Generator().manual_seed(0)) ** 4 + 0.1
    maps = functional.interpolate(functional.max_pool2d(state.maps.heat[:, 0], 3, 1, 1), size=(24, 16))
    above = maps / maps.amax((2, 3), keepdim=True) > 0.3
    assert 0 < above.float().mean() < 1
    assert torch.equal(state.mask(), (above[:1] | above[1:]).float())


def test_latents_are_kept_after_a_fifth_of_the_steps(editors: dict[str, Editor]) -> None:
    editor = editors["sd"]
    source = tiny_levels.inverted(editor, 8, 8, steps=5)
    drawn = editor.sample(source, [SOURCE], guidance=1.5, controls=["local-blend"])  # nothing differs: all is kept
    kept = [torch.equal(z, own) for z, own in zip(drawn.trajectory.latents[1:], source.latents[1:], strict=True)]
    assert kept == [False, True, True, True, True]


# --- MasaCtrl ---------------------------------------------------------------------------------------------------


def test_each_prediction_queries_the_source_told_the_same_kind_of_prompt(editors: dict[str, Editor]) -> None:
    editor = editors["sd"]
    source = tiny_levels.inverted(editor, 8, 8)
    before, after = Spy.new(), Spy.new()
    prompts = [TARGET, "a small green cube"]
    drawn = editor.sample(source, prompts, guidance=2.0, controls=[before, "masactrl:layers=0.5", after])
    assert drawn.nfe == 2 * (2 + 2 * 2)  # of each step: the source twice, and each edit twice
    acted = 0
    for at, keys in after.keys.items():
        own = before.keys[at]
        if at[1].cross or at[1].index < 0.5 * at[1].count:
            assert torch.equal(keys, own)
            continue
        acted += 1
        assert not torch.equal(own[0], own[1])  # the source told its prompt, and the empty one
        assert torch.equal(keys, own[[0, 1, 1, 1, 0, 0]])
    assert acted
    assert editor.sample(source, prompts, guidance=1.0, controls=["masactrl"]).nfe == 2 * 3


def test_masactrl_begins_where_it_is_published_to() -> None:
    """At step 4 of 50 and self-attention layer 10 of 16."""
    model = Editor.from_pipe(tiny_levels.pipeline("sd", layers_per_block=2)).model
    acting = control("masactrl")
    layers = [layer for layer in attention_layers(model) if not layer.cross]
    assert len(layers) == 16
    assert [layer.index for layer in layers if layer.index >= acting.layers * layer.count] == list(range(10, 16))  # type: ignore[attr-defined]
    assert [k for k in range(50) if k + 0.5 >= acting.start * 50] == list(range(4, 50))  # type: ignore[attr-defined]


# --- Plug-and-Play ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "block"), [("sd", 1), ("sdxl", 0)])
def test_features_are_those_of_a_quarter_of_the_latents_side(kind: str, block: int) -> None:
    """Stable Diffusion's decoder block 4, at 16² of 64² cells; layers of attention from there on."""
    pipe = tiny_levels.pipeline(kind, layers_per_block=2)
    editor = Editor.from_pipe(pipe)
    assert _residual(pipe.unet) is pipe.unet.up_blocks[block].resnets[1].conv2
    spy, source = Spy.new(), tiny_levels.inverted(editor, 8, 8)
    editor.sample(source, [TARGET], guidance=1.0, controls=["plug-and-play:features=0,attention=0.5", spy])
    decoder = [layer for layer in attention_layers(editor.model) if layer.part == "up" and not layer.cross]
    first = [layer for layer in decoder if layer.level == 2 and layer.transformer == 0]
    assert len(first) == {"sd": 1, "sdxl": 3}[kind]
    for (k, layer), keys in spy.keys.items():
        if not layer.cross and layer.index:
            assert torch.equal(keys[0], keys[1]) is (k == 0 and layer in decoder and layer not in first)


# --- numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_scores_beyond_float16_are_weighed_in_float32(wanted: bool) -> None:
    """Scores of Stable Diffusion 2 overflow float16: where weights are seen, too, they come out finite."""

    class Weighing(AttentionHook):
        needs_probabilities: Callable[..., bool] = lambda *_: wanted

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = Attention(query_dim=64, heads=1, dim_head=64)
        x = torch.randn(1, 6, 64)
    for projection in (layer.to_q, layer.to_k):
        projection.weight.data.mul_(100.0)
    scores = layer.to_q(x) @ layer.to_k(x).transpose(1, 2)
    assert scores.abs().max() > torch.finfo(torch.float16).max
    run = _Processor(AttentionLayer("mid", False, 0, 1, 2, 0), [Weighing()], None, _Current(threading.get_ident()))
    with torch.no_grad():
        expected = run(layer, x)
        found = run(layer.half(), x.half())
    assert found.isfinite().all()
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.02)
