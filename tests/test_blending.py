"""Between inverted pictures: paths of noise, frames, animations, and new pictures of a kind."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rnri_core.inversion.inversion import Inversion
from rnri_core.sampling.noise_paths import PathName, _angle, _log_chi, centroid, lerp, nao, path, slerp
from scipy import stats
from torch import Tensor

from rnri import images
from rnri.editing.editor import Editor
from rnri.editing.interpolate import concept, interpolate
from tests import tiny
from tests.conftest import SOURCE, TARGET, Run
from tests.problems import normal
from tests.test_editor import ONE_LEVEL, OTHER, picture, same

NAMES: tuple[PathName, ...] = ("lerp", "slerp", "nao")
SHARES = [k / 8 for k in range(9)]


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture(scope="module")
def ends(editor: Editor) -> tuple[Inversion, Inversion]:
    prompts, pictures = (SOURCE, OTHER), (picture(), picture()[::-1].copy())
    one, other = (
        editor.invert(each, prompt, steps=3, inverter="fixed-point", noise_maps=True)
        for each, prompt in zip(pictures, prompts, strict=True)
    )
    return one, other


def unlikeliness(points: list[Tensor]) -> float:
    """−∫ log χ_d(‖z‖) ds along straight pieces, each looked at in eight places."""
    fine = [lerp(a, b, k / 8) for a, b in pairwise(points) for k in range(8)] + points[-1:]
    total = 0.0
    for a, b in pairwise(fine):
        total -= _log_chi(a.numel())(((a + b) / 2).norm()).item() * (b - a).norm().item()
    return total


# --- paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_paths_begin_and_end_where_they_should(name: PathName) -> None:
    one, other = 0.9 * normal(1, 4, 16, 16, seed=0), 1.1 * normal(1, 4, 16, 16, seed=1)
    points = path(name, one, other, SHARES)
    torch.testing.assert_close(points[0], one)
    torch.testing.assert_close(points[-1], other)
    lengths = [(b - a).norm().item() for a, b in pairwise(points)]
    assert max(lengths) < 1.6 * min(lengths)
    backwards = path(name, other, one, SHARES)
    torch.testing.assert_close(backwards[4], points[4], rtol=0.02, atol=0.02)


def test_the_density_of_norms_is_that_of_scipy() -> None:
    norms = torch.tensor([20.0, 31.5, 40.0], dtype=torch.float64)
    np.testing.assert_allclose(_log_chi(1024)(norms).numpy(), stats.chi(1024).logpdf(norms.numpy()), rtol=1e-9)


@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (0.8, 1.0), (0.9, 1.15)])
def test_the_norm_aware_path_is_the_likeliest(first: float, second: float) -> None:
    one, other = first * normal(1, 4, 16, 16, seed=0), second * normal(1, 4, 16, 16, seed=1)
    fine = [k / 64 for k in range(65)]
    straight, round_, aware = (unlikeliness(path(name, one, other, fine)) for name in NAMES)
    assert aware <= 1.001 * round_ < straight
    for point in nao(one, other, [0.4, 0.5, 0.6]):
        assert point.norm().item() == pytest.approx(math.sqrt(1023), rel=0.01)


def test_halfway_straight_is_too_short() -> None:
    one, other = normal(1, 4096, seed=0), normal(1, 4096, seed=1)
    assert lerp(one, other, 0.5).norm().item() == pytest.approx(math.sqrt(4096 / 2), rel=0.05)
    assert slerp(one, other, 0.5).norm().item() == pytest.approx(math.sqrt(4096), rel=0.05)


def test_paths_between_parallel_noise_are_straight() -> None:
    one = normal(1, 64, seed=0)
    for name in NAMES:
        (middle,) = path(name, one, 1.2 * one, [0.5])
        torch.testing.assert_close(middle, 1.1 * one, rtol=0.02, atol=0.01)


def test_the_centroid_is_as_far_from_all_that_are_as_far_from_each_other() -> None:
    points = [normal(1, 4, 16, 16, seed=seed) for seed in range(5)]
    middle = centroid(points)
    assert middle.norm().item() == pytest.approx(math.sqrt(1023), rel=1e-4)
    total = sum(_angle(middle, point).item() for point in points)
    for seed in range(20):
        other = middle + 0.1 * normal(1, 4, 16, 16, seed=100 + seed)
        assert sum(_angle(other, point).item() for point in points) > total
    assert total < sum(_angle(points[0], point).item() for point in points)


@pytest.mark.parametrize(
    ("name", "one", "complaint"),
    [("jump", 1.0, "path 'jump' is not one of lerp, slerp, nao"), ("nao", 0.0, "no path from noise that is zero")],
)
def test_paths_that_are_none(name: PathName, one: float, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        path(name, torch.full((1, 4), one), torch.ones(1, 4), [0.5])


# --- pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_frames_lead_from_one_picture_to_the_other(
    editor: Editor, ends: tuple[Inversion, Inversion], name: PathName
) -> None:
    one, other = ends
    frames = list(interpolate(editor, one, other, 4, by=name))
    assert same(frames[0], editor.reconstruct(one), ONE_LEVEL)
    assert same(frames[-1], editor.reconstruct(other), ONE_LEVEL)
    off = [np.abs(np.asarray(frame, float) - np.asarray(frames[0], float)).mean() for frame in frames]
    assert off[0] < min(off[1:])
    assert len({frame.tobytes() for frame in frames}) == 4


def test_what_has_nothing_between(editor: Editor, ends: tuple[Inversion, Inversion]) -> None:
    with pytest.raises(ValueError, match="count=1 is out of range: give at least 2"):
        next(interpolate(editor, *ends, 1))
    with pytest.raises(ValueError, match=r"inverted in different steps or sizes: invert them"):
        next(interpolate(editor, ends[0], editor.invert(picture(), OTHER, steps=2), 2))
    with pytest.raises(ValueError, match="has no source structure: invert with inverter='faithful'"):
        next(concept(editor, [editor.invert(picture(), OTHER, steps=8)], SOURCE, 1))
    stranger = Editor.from_pipe(tiny.pipeline(seed=1)).invert(picture(), OTHER, steps=3)
    with pytest.raises(ValueError, match=r"inverted by different models"):
        next(concept(editor, [ends[0], stranger], SOURCE, 1))
    with pytest.raises(ValueError, match="there is no reference image"):
        next(concept(editor, [], SOURCE, 1))
    with pytest.raises(ValueError, match=r"variety=2 is out of range"):
        next(concept(editor, list(ends), SOURCE, 1, variety=2))


def test_a_concept_is_drawn_around_its_references(editor: Editor, ends: tuple[Inversion, Inversion]) -> None:
    alike = list(concept(editor, ends, SOURCE, 2, variety=0))
    assert same(alike[0], alike[1])
    first, second, third = concept(editor, ends, SOURCE, 3, variety=0.5, seed=4)
    assert same(first, alike[0])
    assert not same(first, second)
    assert not same(second, third)
    (_, again) = concept(editor, ends, SOURCE, 2, variety=0.5, seed=4)
    assert same(again, second)


# --- commands ---------------------------------------------------------------------------------------------------


def test_animations_go_there_and_back(tmp_path: Path) -> None:
    frames = [np.full((6, 8, 3), level, np.uint8) for level in (0, 100, 200)]
    for suffix, kind in images.ANIMATIONS.items():
        place = images.animate(frames, tmp_path / f"a{suffix}", seconds=0.1)
        with Image.open(place) as animation:
            assert (animation.format, animation.size, getattr(animation, "n_frames", 1)) == (kind, (8, 6), 4)
    with pytest.raises(ValueError, match=r"use one of \.gif, \.webp, \.apng"):
        images.animate(frames, tmp_path / "a.jpg")


def test_interpolate_writes_frames_or_an_animation(run: Run, model: Path) -> None:
    Image.fromarray(picture(30, 20)).save("other.png")
    pair = ("interpolate", "picture.png", "other.png", "--prompt-a", SOURCE, "--prompt-b", TARGET, "--model", model)
    code, _, err = run(*pair, "-n", 3, "-o", "new/frames", "--resolution", "41x24")
    assert (code, "--resolution 41x24 is not to be had" in err) == (2, True)
    code, out, err = run(*pair, "-n", 3, "-o", "new/frames", "--path", "slerp")
    assert code == 0
    assert sorted(path.name for path in Path("new/frames").iterdir()) == ["frame-1.png", "frame-2.png", "frame-3.png"]
    with Image.open("new/frames/frame-3.png") as frame:
        assert frame.size == (30, 20)
    assert out.splitlines()[1:4] == [f"picture.png  {SOURCE}", f"other.png    {TARGET}", "path         slerp"]
    assert "image 3 of 3" in err
    assert run(*pair, "-n", 3, "-o", "film.webp", "--steps", 8)[0] == 0  # of which auto would draw
    with Image.open("film.webp") as film:
        assert (film.format, getattr(film, "n_frames", 1)) == ("WEBP", 4)
    code, _, err = run(*pair, "-o", "film.webp")
    assert (code, err) == (2, "rnri: film.webp exists: choose another name, or overwrite it with --force\n")
    code, _, err = run(*pair, "-o", "x.gif", "--path", "jump")
    assert (code, err) == (2, "rnri: --path 'jump' is not one of 'nao', 'slerp', 'lerp'\n")


def test_concept_writes_new_pictures(run: Run, model: Path) -> None:
    Image.fromarray(picture(30, 20)).save("other.png")
    several = ("concept", "picture.png", "other.png", "--prompt", SOURCE, "--model", model)
    code, out, _ = run(*several, "-n", 2, "-o", "new", "--resolution", "40x24")
    assert code == 0
    assert sorted(path.name for path in Path("new").iterdir()) == ["new-1.png", "new-2.png"]
    with Image.open("new/new-2.png") as new:
        assert new.size == (40, 24)
    assert "new/new-2.png" in out
    code, _, err = run(*several, "-o", "new", "--variety", 2)
    assert (code, err) == (2, "rnri: --variety 2 is not accepted: give a number from 0 to 1\n")
