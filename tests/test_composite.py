"""Composites: shift, scale and tint are undone, edits are found, and everything else is the original to the bit."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from rnri_core.composite import Composite, composite, register
from rnri_core.errors import RnriError
from torch import Tensor
from torch.nn import functional

from rnri import images
from rnri.editing.compositing import composite as composite_images
from rnri.scenes.captions import parse
from rnri.scenes.render import render
from tests.conftest import Run

SCENE = "a large red metal ball on the left and a small blue striped cone on the right, on sand, by day"


def scene(caption: str = SCENE) -> Tensor:
    return images.read(render(parse(caption, seed=3), size=256))


def psnr(one: Tensor, other: Tensor, where: Tensor) -> float:
    """PSNR in dB of images (1, 3, H, W) in [−1, 1], of the pixels of a mask (1, 1, H, W)."""
    return float(-10 * ((one - other).square() / 4).mean(1, keepdim=True)[where].mean().clamp_min(1e-10).log10())


def spoilt(image: Tensor, *, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0), tint: float = 0.0) -> Tensor:
    """An image as an editor that renders it again gives it back: moved, tinted, blurred and of JPEG's quality 90."""
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height * 2 - 1, (torch.arange(width) + 0.5) / width * 2 - 1, indexing="ij"
    )
    grid = torch.stack([(x - shift[0]) / scale, (y - shift[1]) / scale], -1)[None]
    moved = functional.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False)
    colour = torch.tensor([tint, 0.0, -tint]).view(1, 3, 1, 1)
    moved = functional.avg_pool2d(functional.pad(moved * (1 - tint) + colour, (1, 1, 1, 1), mode="replicate"), 3, 1)
    encoded = io.BytesIO()
    images.to_pil(moved)[0].save(encoded, "JPEG", quality=90)
    return images.read(Image.open(encoded))


@pytest.mark.parametrize("seed", range(4))
def test_registration_finds_shift_scale_and_tint_despite_the_edit(seed: int) -> None:
    draw = random.Random(seed)
    scale, shift = draw.uniform(0.97, 1.03), (draw.uniform(-0.06, 0.06), draw.uniform(-0.06, 0.06))
    target = scene(SCENE.replace("red metal ball", "green metal cube"))
    fit = register(scene(), spoilt(target, scale=scale, shift=shift, tint=0.04))
    assert fit.scale == pytest.approx((scale, scale), abs=4e-3)
    assert fit.shift == pytest.approx(shift, abs=4e-3)  # of 2 across the image: half a pixel of 256
    assert fit.gain == pytest.approx((0.96, 0.96, 0.96), abs=0.02)
    assert fit.bias == pytest.approx((0.04, 0.0, -0.04), abs=0.015)


def test_an_image_that_was_not_moved_is_not_resampled() -> None:
    fit = register(scene(), spoilt(scene(SCENE.replace("red", "green"))))
    assert fit.still


@pytest.mark.parametrize(
    "edit", [("red metal ball", "green metal ball"), (" and a small blue striped cone on the right", "")]
)
def test_the_original_stays_outside_the_edit_and_the_edit_inside(edit: tuple[str, str]) -> None:
    original, target = scene(), scene(SCENE.replace(*edit))
    edited = spoilt(target, scale=1.02, shift=(0.03, -0.04), tint=0.03)
    result = composite(original, edited)
    changed = (original - target).abs().amax(1, keepdim=True) > 8 / 127.5
    kept = result.mask == 0
    assert torch.equal(result.image.masked_select(kept), original.masked_select(kept))
    assert psnr(result.image, original, ~changed) > 40 > psnr(edited, original, ~changed) + 10
    assert psnr(result.image, target, changed) > psnr(result.registration.undo(edited), target, changed) - 0.5
    assert result.preserved > 0.8


def test_nothing_edited_is_the_original_whole() -> None:
    original = scene()
    assert composite(original, original).preserved == 1
    again = composite(original, spoilt(original, shift=(0.02, 0.0), tint=0.03))
    assert again.preserved > 0.995


def test_a_change_of_everything_is_the_edit_itself() -> None:
    edited = scene(SCENE.replace("by day", "at night"))
    result = composite(scene(), edited)
    assert result.registration.still
    assert result.preserved < 0.5


def test_an_edit_of_another_size_is_scaled() -> None:
    original, target = scene(), scene(SCENE.replace("red", "green"))
    result = composite(
        original, functional.interpolate(target, (320, 320), mode="bicubic", antialias=True).clamp(-1, 1)
    )
    assert result.image.shape == original.shape
    assert result.preserved > 0.8


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda x: x[0], "edited has shape (3, 256, 256)"),
        (lambda x: x.expand(2, -1, -1, -1), "edited has shape (2, 3, 256, 256)"),
        (lambda x: x[..., :4], "edited has shape (1, 3, 256, 4)"),
        (lambda x: x * float("nan"), "edited has pixels that are not finite"),
    ],
)
def test_what_is_no_image_is_refused(change: Callable[[Tensor], Tensor], complaint: str) -> None:
    with pytest.raises(RnriError, match=complaint.replace("(", r"\(").replace(")", r"\)")):
        composite(scene(), change(scene()))


def modes() -> dict[str, Image.Image]:
    """The same picture in modes of PIL, with what is to be kept beside the colours."""
    picture = Image.fromarray(render(parse(SCENE, seed=3), size=256))
    alpha = Image.linear_gradient("L")
    clear = picture.convert("RGBA")
    clear.putalpha(alpha.point(lambda level: 255 - level // 8))
    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    wide = picture.copy()
    wide.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {"RGB": picture, "RGBA": clear, "L": picture.convert("L"), "I;16": Image.fromarray(grey), "profile": wide}


@pytest.mark.parametrize("name", ["RGB", "RGBA", "L", "I;16", "profile"])
def test_mode_depth_transparency_and_profile_are_the_originals(name: str, tmp_path: Path) -> None:
    original = modes()[name]
    edited = images.to_pil(spoilt(images.read(original)))[0]
    edited.paste((255, 0, 0), (100, 100, 160, 160))
    result = composite_images(original, edited)
    assert (result.picture.mode, result.picture.size) == (original.mode, original.size)
    kept, own, new = np.asarray(result.mask) == 0, np.asarray(original), np.asarray(result.picture)
    assert kept.mean() > 0.8
    assert not kept[100:160, 100:160].any()
    assert np.array_equal(own[kept], new[kept])
    assert not np.array_equal(own[120:140, 120:140], new[120:140, 120:140])
    if name == "RGBA":
        assert np.array_equal(own[..., 3], new[..., 3])
    images.write_own(result.picture, tmp_path / "result.png")
    with Image.open(tmp_path / "result.png") as written:
        assert np.array_equal(np.asarray(written), new)
        assert written.info.get("icc_profile") == original.info.get("icc_profile")


def test_the_command_writes_result_and_mask_and_states_what_was_preserved(run: Run) -> None:
    original = scene()
    images.write(original, "original.png")
    images.write(spoilt(scene(SCENE.replace("red", "green")), shift=(0.03, 0.0)), "edited.png")
    code, out, _ = run("composite", "original.png", "edited.png", "--mask-out", "mask.png", "--json")
    facts = json.loads(out)
    assert (code, facts["output"], facts["lossless"]) == (0, "original-composite.png", True)
    mask = np.asarray(Image.open("mask.png"))
    assert facts["preserved"] == pytest.approx((mask == 0).mean())
    assert facts["shift_pixels"][0] == pytest.approx(0.03 * 128, abs=0.6)
    own, new = (np.asarray(Image.open(name)) for name in ("original.png", "original-composite.png"))
    assert np.array_equal(own[mask == 0], new[mask == 0])
    code, out, _ = run("composite", "original.png", "edited.png", "-o", "result.jpg")
    assert (code, "before compression; write PNG to keep their bits" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere.png", "edited.png"), "nowhere.png does not exist"),
        (("edited.png", "edited.png", "-o", "result.txt"), "cannot write result.txt"),
        (("edited.png", "edited.png", "-o", "edited.png"), "edited.png exists"),
    ],
)
def test_files_that_do_not_serve_are_refused_in_one_line(run: Run, arguments: tuple[str, ...], complaint: str) -> None:
    images.write(scene(), "edited.png")
    code, out, err = run("composite", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


def test_composites_are_values_of_the_core() -> None:
    assert isinstance(composite(scene(), scene()), Composite)
