"""The attribute reader: what it promises of any picture, and that the shipped one reads true renders."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rnri import images
from rnri.evaluation.embedded import Accuracy
from rnri.scenes.attributes import ATTRIBUTES, NONE, Attribute, attributes
from rnri.scenes.captions import caption
from rnri.scenes.reader import WEIGHTS, Network, Reader
from rnri.scenes.render import render
from rnri.scenes.scene import PLACES, Item, Scene
from rnri.scenes.splits import split

BALL = Item("ball", "red", "matte", "large")
PROBABILITY = 1e-4
"""How far float32 sums in another order move a probability."""


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader.load()


def pictures(scenes: tuple[Scene, ...], size: int = 128) -> torch.Tensor:
    return torch.cat([images.read(render(scene, size)) for scene in scenes])


@pytest.fixture(scope="module")
def heldout() -> tuple[Scene, ...]:
    return tuple(scene for style in ("photo", "pencil", "pixel", "watercolour") for scene in split("heldout", 6, style))


@pytest.fixture(scope="module")
def renders(heldout: tuple[Scene, ...]) -> torch.Tensor:
    return pictures(heldout)


def test_the_shipped_reader_reads_renders_it_has_never_seen(
    reader: Reader, heldout: tuple[Scene, ...], renders: torch.Tensor
) -> None:
    accuracy = Accuracy.of([attributes(scene) for scene in heldout], reader.read(renders))
    assert accuracy.share >= 0.97, accuracy


def test_it_reads_softened_and_noisy_pictures(
    reader: Reader, heldout: tuple[Scene, ...], renders: torch.Tensor
) -> None:
    soft = torch.nn.functional.avg_pool2d(renders, 3, 1, 1, count_include_pad=False)
    noisy = soft + 0.02 * torch.randn(soft.shape, generator=torch.Generator().manual_seed(0))
    accuracy = Accuracy.of([attributes(scene) for scene in heldout], reader.read(noisy))
    assert accuracy.share >= 0.95, accuracy


def test_probabilities_are_of_every_value_and_sum_to_one(reader: Reader, renders: torch.Tensor) -> None:
    found = reader.probabilities(renders[:3])
    assert list(found) == list(ATTRIBUTES)
    for name, values in ATTRIBUTES.items():
        assert found[name].shape == (3, len(values))
        torch.testing.assert_close(found[name].sum(1), torch.ones(3))
        assert found[name].min() >= 0
    for place in PLACES:
        torch.testing.assert_close(found[f"{place}.colour"][:, 0], found[f"{place}.present"][:, 0])


def test_a_batch_equals_one_by_one(reader: Reader, renders: torch.Tensor) -> None:
    together = reader.probabilities(renders[:5])
    for k in range(5):
        for name, alone in reader.probabilities(renders[k : k + 1]).items():
            torch.testing.assert_close(together[name][k : k + 1], alone, rtol=0, atol=PROBABILITY)


def test_reading_twice_gives_the_same_bits_and_draws_nothing(renders: torch.Tensor) -> None:
    state = torch.get_rng_state()
    once, twice = (Reader.load().probabilities(renders[:4]) for _ in range(2))
    assert all(torch.equal(once[name], twice[name]) for name in ATTRIBUTES)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_read_is_a_scene_for_any_picture(reader: Reader) -> None:
    noise = torch.rand(8, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for read in reader.read(torch.cat([noise, torch.zeros(1, 3, 128, 128), -torch.ones(1, 3, 128, 128)])):
        assert [attribute.name for attribute in read] == list(ATTRIBUTES)
        assert all(
            isinstance(attribute, Attribute) and attribute.value in ATTRIBUTES[attribute.name] for attribute in read
        )
        values = dict(read)
        for place in PLACES:
            empty = values[f"{place}.present"] == "no"
            assert all((values[f"{place}.{kind}"] == NONE) == empty for kind in ("shape", "colour", "material", "size"))
    assert all(caption(reader.scene(picture)) for picture in noise)


@pytest.mark.parametrize("size", [96, 256])
def test_other_sizes_are_read_too(reader: Reader, size: int) -> None:
    scene = Scene((BALL, None, replace(BALL, shape="cube", colour="blue")), "snow", "day")
    assert reader.describe(pictures((scene,), size)) == caption(scene)
    assert reader.describe(pictures((scene,), size)[0]) == caption(scene)


def test_the_place_is_told_apart(reader: Reader) -> None:
    for place in PLACES:
        left, middle, right = (BALL if other == place else None for other in PLACES)
        assert reader.scene(pictures((Scene((left, middle, right), "snow", "day"),))).occupied == (place,)


def test_saving_and_loading_changes_nothing(reader: Reader, renders: torch.Tensor, tmp_path: Path) -> None:
    reader.save(tmp_path / "again")
    again = Reader.load(tmp_path / "again").probabilities(renders[:2])
    for name, table in reader.probabilities(renders[:2]).items():
        assert torch.equal(table, again[name])


def test_the_weights_are_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 2.5e6
    assert sum(weight.numel() for weight in Network().parameters()) < 1.2e6


@pytest.mark.parametrize("shape", [(3, 128, 128), (1, 1, 128, 128), (0, 3, 128, 128)])
def test_other_shapes_are_refused(reader: Reader, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"give \(B, 3, H, W\)"):
        reader.read(torch.zeros(shape))


def test_missing_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no reader"):
        Reader.load(tmp_path)
    (tmp_path / "config.json").write_text('{"attributes": {"ground": ["lava"]}}')
    with pytest.raises(ValueError, match="other attributes"):
        Reader.load(tmp_path)


def test_one_picture_is_one_scene(reader: Reader) -> None:
    with pytest.raises(ValueError, match="one by one"):
        reader.scene(torch.zeros(2, 3, 128, 128))


def test_scenes_need_no_torch() -> None:
    code = "import sys, rnri.scenes, rnri.scenes.edits, rnri.scenes.render; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
