"""Metrics that look through a network: real classes at tiny size, and files in the published layout."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer, ViTModel

from rnri import images
from rnri.metrics import METRICS, Judged, Networks, metric, weights
from rnri.metrics.clip import clip_similarity, edited_part
from rnri.metrics.lpips import Lpips, Trunk, lpips
from rnri.metrics.structure import self_similarity, structure_distance, structure_distance_as_published
from tests import tiny
from tests.conftest import Run
from tests.problems import normal

SIDE = 64
TRUNKS: tuple[Trunk, ...] = ("squeeze", "alex")


def pictures(count: int = 2, seed: int = 0, side: int = SIDE) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def corner(side: int = SIDE) -> Tensor:
    mask = torch.zeros(1, 1, side, side, dtype=torch.bool)
    mask[..., : side // 2, : side // 2] = True
    return mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP, DINO and LPIPS of random weights, as they are published."""
    return tiny.judges(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def networks(folder: Path) -> Networks:
    return Networks(clip_source=str(folder / "clip"), dino_source=str(folder / "dino"), lpips_folder=folder / "lpips")


# LPIPS


@pytest.mark.parametrize("trunk", TRUNKS)
def test_lpips_is_its_equation(trunk: Trunk, folder: Path) -> None:
    network, (image, reference) = Lpips.load(trunk, folder / "lpips"), (pictures(seed=1), pictures(seed=2))
    heads = torch.load(folder / "lpips" / f"lpips-{trunk}.pth", weights_only=True)
    expected = torch.zeros(2, dtype=torch.float64)
    features = zip(network.features(image), network.features(reference), strict=True)
    for n, (one, other) in enumerate(features):
        torch.testing.assert_close(one.norm(dim=1), torch.ones_like(one[:, 0]), rtol=1e-4, atol=1e-4)
        weighted = (one - other).double().square() * heads[f"lin{n}.model.1.weight"].double()
        expected += weighted.sum(1).mean((1, 2))
    torch.testing.assert_close(lpips(image, reference, network), expected, rtol=1e-5, atol=0)
    assert lpips(image, image, network).tolist() == [0, 0]


@pytest.mark.parametrize("trunk", TRUNKS)
def test_lpips_of_a_part_sees_nothing_else(trunk: Trunk, folder: Path) -> None:
    network, image, reference, where = (
        Lpips.load(trunk, folder / "lpips"),
        pictures(seed=1),
        pictures(seed=2),
        ~corner(),
    )
    other = torch.where(where, image, pictures(seed=3))
    assert torch.equal(lpips(image, reference, network, where), lpips(other, reference, network, where))
    everywhere = torch.ones_like(where)
    torch.testing.assert_close(lpips(image, reference, network, everywhere), lpips(image, reference, network))


def test_loading_leaves_the_global_random_state_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    Lpips.load("squeeze", folder / "lpips")
    assert torch.equal(before, torch.random.get_rng_state())


# CLIP


def test_clip_is_the_cosine_of_the_models_own_embeddings(folder: Path, networks: Networks) -> None:
    image, prompt = pictures(seed=1, side=48), ["a red ball", "a blue cube on sand"]
    model, tokenizer = CLIPModel.from_pretrained(folder / "clip"), CLIPTokenizer.from_pretrained(folder / "clip")
    side = model.config.vision_config.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    pixels = processor(images.to_pil(image), return_tensors="pt").pixel_values
    assert torch.equal(networks.clip.pixels(image), pixels)
    assert "torchvision" not in sys.modules
    tokens = tokenizer(prompt, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model(pixel_values=pixels, **tokens)
    expected = 100 * (output.image_embeds * output.text_embeds).sum(1)
    found = clip_similarity(image, prompt, networks.clip)
    torch.testing.assert_close(found, expected.double(), atol=1e-4, rtol=0)
    assert found.abs().max() <= 100


def test_clip_takes_long_prompts_and_wide_pictures(networks: Networks) -> None:
    wide = torch.cat([pictures(1, side=48)] * 2, dim=3)
    assert networks.clip.pixels(wide).shape == (1, 3, 32, 32)
    assert clip_similarity(wide, ["a red ball on sand " * 40], networks.clip).shape == (1,)
    with pytest.raises(ValueError, match="2 prompts do not fit 1 pictures"):
        clip_similarity(wide, ["a", "b"], networks.clip)


def test_the_edited_part_is_cut_out_round_the_mask() -> None:
    image, mask = pictures(1), torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    assert edited_part(image, mask) is None
    mask[..., 60:, 0] = True
    part = edited_part(image, mask)
    assert part is not None
    assert torch.equal(part, image[..., 60:, :4])
    assert edited_part(image, torch.ones_like(mask)).shape == image.shape  # type: ignore[union-attr]


# DINO


def test_keys_are_those_of_the_last_layer(folder: Path, networks: Networks) -> None:
    model = ViTModel.from_pretrained(folder / "dino", add_pooling_layer=False).eval()
    pixels = normal(1, 3, 32, 32, seed=6).float()
    standard = (pixels - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(1, 3, 1, 1)
    with torch.no_grad():
        hidden = model(standard, output_hidden_states=True).hidden_states[-2]
        last = model.layers[-1]
        expected = last.attention.k_proj(last.layernorm_before(hidden))
    torch.testing.assert_close(networks.dino.keys(pixels), expected, atol=1e-5, rtol=1e-5)
    assert expected.shape == (1, 17, 24)


def test_the_published_structure_distance_forgets_to_divide_by_255(networks: Networks) -> None:
    image, reference, dino = pictures(seed=1), pictures(seed=2), networks.dino
    expected = torch.zeros(2, dtype=torch.float64)
    for n in range(2):
        grams = []
        for each in (image[n], reference[n]):
            pixels = torch.nn.functional.interpolate((each[None] + 1) * 127.5, (32, 32), mode="bilinear")
            keys = dino.keys(pixels)[0].double()
            length = keys.norm(dim=1)
            grams.append(keys @ keys.T / (length[:, None] * length[None]))
        expected[n] = (grams[0] - grams[1]).square().mean()
    found = structure_distance_as_published(image, reference, dino)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
    assert not torch.allclose(found, structure_distance(image, reference, dino), rtol=0.01)
    with pytest.raises(ValueError, match=r"not square: PIE-Bench compares squares only"):
        structure_distance_as_published(image[..., :32], reference[..., :32], dino)


def test_structure_of_a_part_sees_nothing_else(networks: Networks) -> None:
    image, reference, where = pictures(seed=1), pictures(seed=2), ~corner()
    other = torch.where(where, image, pictures(seed=3))
    parts = [structure_distance(each, reference, networks.dino, where) for each in (image, other)]
    assert torch.equal(*parts)
    assert (parts[0] > 0).all()
    assert structure_distance(image, image, networks.dino).tolist() == [0, 0]
    assert structure_distance(image[..., :40], reference[..., :40], networks.dino).shape == (2,)  # other shapes too
    similarity = self_similarity(networks.dino.keys(image))
    torch.testing.assert_close(similarity.diagonal(dim1=1, dim2=2), torch.ones(2, 65, dtype=torch.float64))


# In the registry, and when weights are missing


HUNGRY = [name for name in METRICS if metric(name).needs]
"""Metrics that need weights which are not shipped."""


@pytest.mark.parametrize("name", HUNGRY)
def test_each_gives_one_finite_number(name: str, networks: Networks) -> None:
    image, source = pictures(2, seed=4).chunk(2)
    judged = Judged(image, source, source, corner(), "a red ball", "a blue ball")
    found = metric(name)(judged, networks)
    assert isinstance(found, float)
    assert abs(found) <= 100


@pytest.mark.parametrize("name", HUNGRY)
def test_missing_weights_are_told_with_the_command_that_fetches_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = metric(name)
    assert found.needs in weights.FETCHED
    with pytest.raises(ValueError, match=rf"not (there|here): fetch it with 'rnri bench fetch {found.needs}'"):
        Networks().require(found.needs)
    with pytest.raises(ValueError, match=r"needs .*nowhere.*: give a folder that holds it|needs .*nowhere"):
        Networks("nowhere", "nowhere", tmp_path / "nowhere").require(found.needs)


def test_files_are_fetched_once_and_checked(
    tmp_path: Path, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    files = [folder / "lpips" / each.name for each in weights.FILES["lpips-squeeze"]]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    here = tuple(weights.Download(path.as_uri(), digest[:8]) for path, digest in zip(files, digests, strict=True))
    monkeypatch.setattr(weights, "FILES", {"lpips-squeeze": here})
    monkeypatch.setattr(weights.Download, "name", property(lambda self: self.url.rpartition("/")[2]))
    for _ in range(2):
        assert run("bench", "fetch", "lpips-squeeze")[0] == 0
    assert isinstance(Networks().squeeze, Lpips)
    monkeypatch.setattr(weights, "FILES", {"lpips-squeeze": (weights.Download(here[0].url, "00000000"), here[1])})
    (weights.cache() / here[0].name).unlink()
    code, _, err = run("bench", "fetch", "lpips-squeeze")
    assert (code, "cannot be fetched: invalid hash value" in err.splitlines()[-1]) == (2, True)
    assert not (weights.cache() / here[0].name).exists()
    code, _, err = run("bench", "fetch", "beauty")
    assert (code, "use lpips-squeeze, lpips-alex, clip, dino" in err) == (2, True)
