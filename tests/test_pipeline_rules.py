"""`Editor.generate` draws what a family's own pipeline draws: guidance, negative prompts, first noise, one step."""

from __future__ import annotations

import copy
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, LCMScheduler
from torch import Tensor

from rnri import models
from rnri.editing.editor import Editor
from rnri.models import GuidanceWarning, ModelAdapter
from tests import tiny, tiny_families
from tests.tiny_families import CASES, Case

# diffusers' Euler schedulers, as numpy sees them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPT = "a red ball on the left"
STEPS = 2
TABLE = Path(__file__).parents[1] / "docs" / "models.md"


class Sampled(Editor):
    """Gives the latents (1, C, h, w) instead of the picture they are decoded to."""

    def decode(self, latents: Tensor, **_: Any) -> Any:
        return [latents]


@cache
def prepared(name: str) -> tuple[Any, ModelAdapter]:
    pipe = tiny_families.build(name)
    model = models.from_pipe(pipe)
    side = 32 if model.multiple < 4 else 4 * model.multiple
    model.image_size = (side, side)
    return pipe, model


def drawn_by(pipe: Any, case: Case, model: ModelAdapter, steps: int = STEPS, **told: Any) -> Tensor:
    """What the pipeline draws from seed 0, (1, 3, H, W) in [-1, 1]."""
    noise = torch.randn(1, *model.latent_shape(model.image_size), generator=torch.Generator().manual_seed(0))
    pictures = copy.copy(pipe)(
        prompt=[PROMPT],
        height=model.image_size[0],
        width=model.image_size[1],
        num_inference_steps=steps,
        latents=case.pack(pipe, noise),
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
        **told,
    ).images
    output: Tensor = pictures * 2 - 1
    return output


def drawn_here(model: ModelAdapter, steps: int = STEPS, **told: Any) -> Tensor:
    latents: Any = Sampled(model).generate(PROMPT, steps=steps, seed=0, **told)
    return model.decode(latents)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "guidance"), [("sd", 0.5), *((name, scale) for name in CASES for scale in (0.0, 1.0, None))]
)
def test_guidance_is_the_pipelines(name: str, guidance: float | None) -> None:
    """Also where it is none: at 0 too, the prompt is drawn and not what there is without one."""
    (pipe, model), case = prepared(name), CASES[name]
    guidance = case.guidance if guidance is None else guidance
    told = {**case.plain, "guidance_scale": guidance}
    assert_same(drawn_here(model, guidance=guidance), drawn_by(pipe, case, model, **told))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.negative])
def test_negative_prompts_are_the_pipelines(name: str) -> None:
    (pipe, model), case = prepared(name), CASES[name]
    for negative in (case.negative, ""):
        expected = drawn_by(pipe, case, model, **case.guided, negative_prompt=[negative])
        assert_same(drawn_here(model, guidance=case.guidance, negative=negative), expected)


def test_sdxl_without_a_negative_prompt_differs_from_an_empty_one() -> None:
    """Without one, `force_zeros_for_empty_prompt` has zeros; an empty prompt, source or negative, is text."""
    _, model = prepared("sdxl")
    assert not model.unconditional(None, 2).tokens.any()
    assert torch.equal(model.unconditional("", 2).tokens[1:], model.embed([""]).tokens)
    free = models.from_pipe(tiny_families.build("sdxl"))
    free.pipe.register_to_config(force_zeros_for_empty_prompt=False)
    assert torch.equal(free.unconditional(None, 1).tokens, free.unconditional("", 1).tokens)


@pytest.mark.parametrize("name", CASES)
def test_guidance_that_a_model_has_not_is_refused_above_its_threshold_alone(name: str) -> None:
    _, model = prepared(name)
    editor = Sampled(model)
    reason = "takes no negative prompt" if model.guidance != "classifier-free" else "has no effect at guidance 0"
    with pytest.raises(ValueError, match=reason):
        editor.generate(PROMPT, steps=1, guidance=0.0, negative="sand")
    if model.guidance == "none":
        with pytest.raises(ValueError, match=r"guidance=1\.5 is not to be had"):
            editor.generate(PROMPT, steps=1, guidance=1.5)


def test_guidance_zero_of_a_turbo_model_is_no_guidance_and_no_warning() -> None:
    scheduler = EulerDiscreteScheduler.from_config(tiny.scheduler(timestep_spacing="trailing").config)
    turbo = models.from_pipe(tiny.pipeline(noise=scheduler))
    with warnings.catch_warnings():
        warnings.simplefilter("error", GuidanceWarning)
        zero, one = (drawn_here(turbo, guidance=guidance) for guidance in (0.0, 1.0))
    assert torch.equal(zero, one)
    with pytest.warns(GuidanceWarning, match="leave guidance=2 at 1"):
        drawn_here(turbo, guidance=2.0)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, LCMScheduler])
def test_the_first_noise_is_the_schedulers(kind: Any, spacing: str) -> None:
    """`init_noise_sigma`: of Euler's schedulers σ where steps begin at the noisiest level, √(σ² + 1) where not."""
    scheduler = kind.from_config(tiny.scheduler(timestep_spacing=spacing).config)
    pipe = tiny.pipeline(noise=scheduler)
    pipe.set_progress_bar_config(disable=True)
    model, case = models.from_pipe(pipe), CASES["sd"]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = pipe(
        PROMPT,
        num_inference_steps=4,
        guidance_scale=0.0,
        latents=case.pack(pipe, noise),
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images
    found: Any = Sampled(model).generate(PROMPT, steps=4, guidance=0.0, seed=0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["pixart-alpha", "pixart-sigma"])
@pytest.mark.parametrize("ends", [{"set_alpha_to_one": False}, {"timestep_spacing": "leading"}])
def test_one_step_of_pixart_ends_where_the_pipelines_does(name: str, ends: dict[str, Any]) -> None:
    """Alpha's at the predicted image, for networks distilled to one step; Sigma's where the scheduler says."""
    pipe = copy.copy(prepared(name)[0])
    pipe.scheduler = tiny.scheduler(**ends)
    model = models.from_pipe(pipe)
    model.image_size = (32, 32)
    case = CASES[name]
    assert_same(drawn_here(model, 1, guidance=3.0), drawn_by(pipe, case, model, 1, **case.guided))
    end = model.schedule(1)[0].levels[2:]
    assert (end == (1.0, 0.0)) is (name == "pixart-alpha" or bool(pipe.scheduler.config.set_alpha_to_one))


def test_the_table_of_guidance_is_what_each_family_does() -> None:
    """Rows of docs/models.md: a formula of u, c and g, evaluated, and above which g it is active."""
    rows = re.findall(r"^\| `(\w+Pipeline)` \| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", TABLE.read_text(), re.MULTILINE)
    assert {row[0] for row in rows} == set(models.MODELS)
    u, c = torch.randn(2, 1, 4, 6, 5, generator=torch.Generator().manual_seed(3)).unbind()
    means = {"u": u, "c": c, "g": 2.5, "rows": lambda x: x.square().sum(-1, keepdim=True).sqrt()}
    for pipeline, kind, above, formula in rows:
        family = models.serving(pipeline)
        built = [model for _, model in map(prepared, CASES) if type(model) is family]
        assert {model.guidance for model in built} <= set(kind.split(", "))
        for model in built:
            assert above == f"{model.guidance_threshold:g}"
            torch.testing.assert_close(eval(formula, {}, means), model.combine(c, u, 2.5))
