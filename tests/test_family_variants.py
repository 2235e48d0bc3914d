"""What else a family's checkpoints may be: other samplers, distilled, parts under other names, other step counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from rnri_core.inversion.inversion import sample

from rnri import models
from rnri.editing.editor import Editor
from tests import tiny, tiny_families
from tests.test_editor import ONE_LEVEL, picture, same
from tests.test_families import FLOAT32, assert_same_as_pipeline, noise
from tests.test_family_edits import SOURCE, TARGET, settings
from tests.tiny_families import CASES, Case

# diffusers' Euler schedulers, as numpy sees them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def sdxl(scheduler: Any, **changes: Any) -> Case:
    """SDXL with another scheduler, its steps spaced as few-step checkpoints have them."""

    def build() -> Any:
        pipe = tiny_families.sdxl(**changes)
        pipe.scheduler = scheduler.from_config({**tiny.scheduler().config, "timestep_spacing": "trailing"})
        return pipe

    return Case(build, negative="" if changes else CASES["sdxl"].negative)


VARIANTS: dict[str, Case] = {
    "SDXL-Turbo": sdxl(diffusers.EulerAncestralDiscreteScheduler),
    "SDXL-Lightning": sdxl(diffusers.EulerDiscreteScheduler),
    "SDXL with an LCM-LoRA": sdxl(diffusers.LCMScheduler),
    "SDXL that reads its guidance": sdxl(diffusers.LCMScheduler, time_cond_proj_dim=16),
    "distilled klein": Case(lambda: tiny_families.flux2(distilled=True), 1.0, negative=""),
    "klein with a language model": Case(lambda: tiny_families.flux2(reader="ForCausalLM"), negative=""),
    "Z-Image with a language model": Case(
        lambda: tiny_families.z_image(reader="ForCausalLM"),
        2.0,
        guided={"guidance_scale": 2.0},
        plain={"guidance_scale": 0.0},
    ),
}


@pytest.mark.filterwarnings("ignore:.*is set up like models distilled:rnri.models.GuidanceWarning")
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_images_of_variants_are_those_of_their_pipelines(name: str, guided: bool) -> None:
    pipe = tiny_families.built(VARIANTS[name])
    assert_same_as_pipeline(VARIANTS[name], pipe, models.from_pipe(pipe), guided=guided)


def test_guidance_is_by_number_or_none_where_a_variant_has_it_so() -> None:
    kinds = {name: models.from_pipe(tiny_families.built(case)).guidance for name, case in VARIANTS.items()}
    assert {name for name, kind in kinds.items() if kind == "none"} == {"distilled klein"}
    assert {name for name, kind in kinds.items() if kind == "embedded"} == {"SDXL that reads its guidance"}


def test_a_transformer_may_have_the_name_it_was_published_under(tmp_path: Path) -> None:
    pipe = tiny_families.build("pixart-alpha")
    pipe.save_pretrained(tmp_path)
    for file, change in (
        ("model_index.json", {"transformer": ["diffusers", "Transformer2DModel"]}),
        ("transformer/config.json", {"_class_name": "Transformer2DModel"}),
    ):
        told = json.loads((tmp_path / file).read_text())
        (tmp_path / file).write_text(json.dumps(told | change))
    old, new = models.load(str(tmp_path), device="cpu"), models.from_pipe(pipe)
    assert old.fingerprint == new.fingerprint
    z = noise(new, 1)
    torch.testing.assert_close(*(each.denoiser(each.embed([SOURCE]))(z, 499.0) for each in (old, new)), **FLOAT32)


def test_what_gives_words_where_states_are_read_is_refused(tmp_path: Path) -> None:
    tiny_families.build("sana").save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["text_encoder"] = ["transformers", "Gemma2ForCausalLM"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="its text_encoder is Gemma2ForCausalLM, not Gemma2Model: use another model"):
        models.load(str(tmp_path), device="cpu")


@pytest.mark.parametrize("name", [name for name in CASES if name != "lcm"])
def test_an_edit_may_take_other_steps_than_the_inversion(name: str) -> None:
    model = models.from_pipe(tiny_families.build(name))
    editor = Editor(model)
    source = editor.invert(picture(19, 37), SOURCE, **settings(editor) | {"guidance": None, "strength": 1.0})
    schedule = model.schedule(3, shape=(source.noise.shape[1], source.noise.shape[2], source.noise.shape[3]))
    assert len(schedule) != len(source.schedule)
    expected = sample(model.denoiser(model.embed([TARGET])), schedule, source.noise)
    edited = editor.edit(source, TARGET, guidance=model.guidance_threshold, steps=3).picture
    assert same(edited, editor.decode(expected, size=(37, 19))[0], ONE_LEVEL)
