"""LEDITS++ against the published pipeline, and at the sizes of published networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, LEditsPPPipelineStableDiffusion
from PIL import Image
from rnri_core.inversion.inversion import Inversion
from torch import Tensor

from rnri.baselines.canvas import Canvas
from rnri.baselines.ledits import Ledits
from rnri.controls.word_maps import WordMaps
from rnri.editing.editor import Editor
from rnri.models.attention import attending
from tests import tiny, tiny_levels
from tests.test_editor import SOURCE, TARGET, picture


@pytest.fixture(scope="module")
def editors() -> dict[str, Editor]:
    return {kind: Editor.from_pipe(tiny_levels.pipeline(kind)) for kind in tiny_levels.LEVELS}


@pytest.mark.parametrize(("kind", "height", "width"), [("sd", 20, 13), ("sd", 64, 64), ("sdxl", 61, 45)])
def test_ledits_edits_part_of_the_picture(editors: dict[str, Editor], kind: str, height: int, width: int) -> None:
    editor = editors[kind]
    latents = torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(0))

    def draw(**fields: Any) -> Tensor:
        schedule = editor.schedule(latents, steps=2)
        canvas = Canvas(editor, latents, schedule, SOURCE, [TARGET], torch.Generator().manual_seed(0))
        return Ledits(strength=1.0, quantile=0.0, **fields).draw(canvas, 1.0)

    everywhere, somewhere = draw(attention=0.0), draw(attention=0.75)
    assert not torch.equal(everywhere, latents)
    assert not torch.equal(somewhere, everywhere)
    assert (somewhere - latents).norm() > 0.1 * (everywhere - latents).norm()


def test_methods_that_find_no_layer_say_so(editors: dict[str, Editor]) -> None:
    with pytest.raises(ValueError, match=r"cross attention at level 5 for an image of .*: set level=0 or 1 or 2"):
        Ledits(level=5, steps=2).edit(editors["sd"], picture(), SOURCE, [TARGET])


class Whole(DDIMScheduler):  # type: ignore[misc]
    """Takes the timesteps that the published pipeline gives it as floats, which do not serve as indices."""

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Any:
        return super().add_noise(original_samples, noise, timesteps.long())


def test_guidance_is_that_of_the_pipeline_in_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told no source prompt, every step's guidance is the published pipeline's, masks and all, to rounding."""
    editor = Editor.from_pipe(tiny_levels.pipeline("sd"))
    parts = {name: getattr(editor.model.pipe, name) for name in ("vae", "text_encoder", "tokenizer", "unet")}  # type: ignore[attr-defined]
    published = LEditsPPPipelineStableDiffusion(
        **parts,
        scheduler=Whole.from_config(dict(tiny.scheduler().config)),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    published.set_progress_bar_config(disable=True)
    target, count = "a small blue ball", 5
    encode = published.encode_prompt

    def counted(**given: Any) -> tuple[Any, Any, Any]:
        return (*encode(**given)[:2], [len(target.split())])  # newer tokenizers count padding as tokens

    monkeypatch.setattr(published, "encode_prompt", counted)
    published.invert(Image.fromarray(picture(64, 96)), num_inversion_steps=count, skip=0.0)
    latents = [published.init_latents]

    def keep(_: Any, __: int, ___: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
        latents.append(given["latents"])
        return {}

    fields = {"edit_guidance_scale": 3.0, "edit_threshold": 0.7, "output_type": "latent"}
    published(editing_prompt=[target], callback_on_step_end=keep, **fields)
    timesteps = [int(t) for t in published.inversion_steps]
    assert timesteps[0] > 800 >= timesteps[1]
    theirs = editor.denoiser([""])
    source = stored(editor, latents[0])
    watching = WordMaps(editor.model, source, [target], 2, length=tiny.LENGTH, targets=slice(1, 2))
    m = Ledits(scale=3.0, quantile=0.7, attention=0.7).guided(editor.denoiser(["", target]), watching)
    for k, t in enumerate(timesteps):
        z = latents[k]
        with torch.no_grad(), attending(editor.model, [watching]):
            found = m(z, float(t))
        with torch.no_grad():
            found -= theirs(z, float(t))
        expected = published.sem_guidance[k]
        assert 0.05 < (expected != 0).float().mean() < 0.5
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def stored(editor: Editor, z: Tensor) -> Inversion:
    """An inversion of latents of this size, told nothing."""
    return tiny_levels.inverted(editor, z.shape[-2], z.shape[-1]).described(prompt="")
