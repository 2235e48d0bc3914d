"""What steps take a picture to be, and how that is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image, ImageSequence

from rnri import images, models
from rnri.editing.editor import Editor
from rnri.editing.previews import previews
from rnri.models.loading import Loading
from tests import tiny, tiny_families
from tests.conftest import SOURCE, TARGET, Run

# diffusers' Euler schedulers, as numpy sees them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def taesd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one that shows differences: random weights alone give much the same grey for all latents."""
    folder = tmp_path_factory.mktemp("taesd")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        small = tiny.autoencoder("tiny")
        for weights in small.decoder.parameters():
            weights.mul_(2.5)
    small.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["ddim", "euler", "euler-ancestral", "lcm", "flow"])
def test_it_is_what_the_network_says(name: str) -> None:
    """x = (z − σ·ε)/α where it states the noise, x = z − σ·v where it states the flow."""
    flows = name == "flow"
    model: Any = models.from_pipe(tiny_families.build("sd3" if flows else "sd"), scheduler=None if flows else name)
    m, z = model.denoiser(model.embed([SOURCE])), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for step in model.schedule(3, generator=torch.Generator().manual_seed(0), shape=(4, 8, 8)):
        alpha, sigma = step.levels[:2]
        said = m(step.scale * z, step.t)
        expected = z - sigma * said if flows else (z - sigma * said) / alpha
        end = step.denoise(m, z)
        torch.testing.assert_close(step.x0_from_step(z, end), expected, rtol=1e-3, atol=1e-3)
        z = end


def test_every_step_is_shown_by_the_small_autoencoder(model: Path, taesd: Path) -> None:
    how = Loading(scheduler="euler", preview=str(taesd))
    editor = Editor(models.load(str(model), device="cpu", loading=how))
    found = editor.invert(torch.zeros(1, 3, 20, 30), SOURCE, steps=8, inverter="fixed-point")
    drawn = editor.sample(found, [TARGET, SOURCE], controls=["start-step:strength=0.5"])
    ways = previews(editor.model, found, drawn)
    assert [len(way) for way in ways] == [8 - drawn.first] * 2
    assert 0 < drawn.first < 7
    k = drawn.first
    guess = found.schedule[k].x0_from_step(*drawn.trajectory.latents[k : k + 2])
    assert not torch.allclose(guess, drawn.latents, rtol=0.01)
    for place, shown in ((0, guess), (-1, drawn.latents)):
        pictures = images.to_pil(images.resize(editor.model.preview(shown), (20, 30)))
        for way, picture in zip(ways, pictures, strict=True):
            assert way[place].size == (30, 20)
            assert np.abs(np.asarray(way[place], float) - np.asarray(picture, float)).max() <= 1


def test_the_way_is_an_animation(edit: Run, taesd: Path) -> None:
    assert edit("-o", "plain.png")[0] == 0
    code, out, err = edit("-o", "out.png", "--animation", "way.webp", "--preview", taesd, "--json")
    assert code == 0, err
    assert json.loads(out)["outputs"] == ["out.png", "way.webp"]
    assert Path("out.png").read_bytes() == Path("plain.png").read_bytes()
    with Image.open("way.webp") as way:
        assert way.size == (30, 20)
        assert len(list(ImageSequence.Iterator(way))) == 6  # 4 steps, there and back
    code, _, err = edit("--target", SOURCE, "-o", "out.png", "--animation", "way.gif", "--force")
    assert code == 0, err
    assert sorted(path.name for path in Path().glob("way-*.gif")) == ["way-1.gif", "way-2.gif"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--animation", "way.png"), "cannot write way.png: its suffix is '.png', use .webp, .gif, .apng"),
        (("--animation", "way.gif", "--edit-steps", 3), "--animation and --edit-steps exclude each other: edit in"),
        (("--preview", "owner/name"), "--preview owner/name has no effect without --animation: leave it out"),
    ],
)
def test_what_cannot_be_shown(edit: Run, options: tuple[object, ...], complaint: str) -> None:
    code, out, err = edit("-o", "out.png", *options)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"rnri: {complaint}")
    assert not Path("out.png").exists()


@pytest.mark.parametrize("command", [("invert", "picture.png", "--prompt", SOURCE), ("generate", SOURCE)])
def test_where_nothing_is_looked_at_there_is_no_preview(run: Run, command: tuple[str, ...]) -> None:
    code, out, err = run(*command, "-o", "out.safetensors", "--preview", "owner/name")
    assert (code, out) == (2, "")
    assert err == "rnri: --preview owner/name has no effect without rnri edit --animation: leave it out\n"


def test_one_of_other_latents_is_refused(model: Path, tmp_path: Path) -> None:
    channels = {"latent_channels": 16, "encoder_block_out_channels": (8,) * 3, "decoder_block_out_channels": (8,) * 3}
    blocks = {"num_encoder_blocks": (1,) * 3, "num_decoder_blocks": (1,) * 3}
    AutoencoderTiny(**channels, **blocks).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="reads latents of 16 channels, and the model's have 4: use one that was made"):
        models.load(str(model), device="cpu", loading=Loading(preview=str(tmp_path)))
