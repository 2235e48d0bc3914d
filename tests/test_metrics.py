"""Metrics of pixels against scikit-image, and what must hold for every metric."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from rnri.metrics import METRICS, Judged, Metric, Networks, metric, psnr
from rnri.metrics.metric import of_background
from rnri.metrics.mse import mse
from rnri.metrics.reader_distance import reader_distance
from rnri.metrics.ssim import ssim
from rnri.scenes.attributes import attributes
from rnri.scenes.edits import Edit, random_edit
from rnri.scenes.reader import Reader

HEIGHT, WIDTH = 24, 32
PIXELS = {"psnr": psnr, "mse": mse, "ssim": ssim}
LOCAL = [name for name in METRICS if metric(name).needs is None]


def pictures(count: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def near(reference: Tensor, seed: int = 7) -> Tensor:
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(seed))
    return (reference + 0.2 * noise).clamp(-1, 1)


def left_half() -> Tensor:
    where = torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    where[..., : WIDTH // 2] = True
    return where


def array(image: Tensor) -> np.ndarray:
    return ((image.double() + 1) / 2).numpy()


ORACLES = {
    "psnr": lambda a, b: peak_signal_noise_ratio(b, a, data_range=1.0),
    "mse": mean_squared_error,
    "ssim": lambda a, b: structural_similarity(
        a, b, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    ),
}


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_are_compared_as_scikit_image_does(name: str) -> None:
    reference = pictures(seed=1)
    image = near(reference)
    expected = [ORACLES[name](array(a), array(b)) for a, b in zip(image, reference, strict=True)]
    torch.testing.assert_close(
        PIXELS[name](image, reference), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9
    )


def test_ssim_of_one_window_is_the_equation_of_its_paper() -> None:
    """Pictures of 11×11 hold one window: Gaussian of deviation 1.5, population variances, C₁ = 0.01², C₂ = 0.03²."""
    one, two = (each[..., :11, :11] for each in (pictures(1), near(pictures(1))))
    offsets = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(offsets, offsets) / offsets.sum() ** 2
    x, y = array(one[0]), array(two[0])
    mean_x, mean_y = ((each * weights).sum((1, 2)) for each in (x, y))
    var_x, var_y = (
        ((each - mean[:, None, None]) ** 2 * weights).sum((1, 2)) for each, mean in ((x, mean_x), (y, mean_y))
    )
    covariance = ((x - mean_x[:, None, None]) * (y - mean_y[:, None, None]) * weights).sum((1, 2))
    similarity = (2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)
    similarity /= (mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    assert ssim(one, two).item() == pytest.approx(similarity.mean(), abs=1e-9)
    assert ssim(one, two, torch.ones(1, 1, 11, 11, dtype=torch.bool)).item() == pytest.approx(
        similarity.mean(), abs=1e-9
    )


@pytest.mark.parametrize("name", ["psnr", "mse"])
def test_a_part_is_compared_as_if_it_were_the_whole(name: str) -> None:
    reference = pictures(seed=1)
    image = near(reference)
    half = slice(0, WIDTH // 2)
    torch.testing.assert_close(
        PIXELS[name](image, reference, left_half()), PIXELS[name](image[..., half], reference[..., half])
    )


@pytest.mark.parametrize("name", PIXELS)
def test_what_lies_outside_the_part_makes_no_difference(name: str) -> None:
    reference, where = pictures(seed=1), left_half()
    image = near(reference)
    other = torch.where(where, image, pictures(seed=5))
    assert torch.equal(PIXELS[name](image, reference, where), PIXELS[name](other, reference, where))
    assert not torch.equal(PIXELS[name](image, reference), PIXELS[name](other, reference))


@pytest.mark.parametrize("name", PIXELS)
def test_a_batch_equals_one_by_one_and_one_reference_serves_all(name: str) -> None:
    image, reference = pictures(), pictures(seed=1)
    together = PIXELS[name](image, reference)
    assert together.shape == (3,)
    for n in range(3):
        alone = PIXELS[name](image[n : n + 1], reference[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-12, atol=0)
    torch.testing.assert_close(PIXELS[name](image, reference[:1])[:1], PIXELS[name](image[:1], reference[:1]))


def test_psnr_of_equal_images_is_infinite_and_100_in_benchmarks() -> None:
    assert psnr(pictures(), pictures()).tolist() == [math.inf] * 3
    judged = Judged(pictures(1), pictures(1), truth=pictures(1))
    assert metric("psnr")(judged, Networks()) == 100


@pytest.mark.parametrize("other", [pictures()[..., :-1], pictures(2)])
def test_what_cannot_be_compared(other: Tensor) -> None:
    for compare in PIXELS.values():
        with pytest.raises(ValueError, match=r"images of shapes \(3, 3, 24, 32\) and .* cannot be compared: resize"):
            compare(pictures(), other)
    with pytest.raises(ValueError, match=r"a mask of shape \(1, 1, 2, 2\) does not fit"):
        mse(pictures(), pictures(), torch.ones(1, 1, 2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="too small for SSIM"):
        ssim(pictures()[..., :10], pictures()[..., :10])


# One number for one picture


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks()


@pytest.fixture(scope="module")
def edit() -> Edit:
    return random_edit(np.random.default_rng(0), "colour")


@pytest.fixture(scope="module")
def judged(edit: Edit) -> Judged:
    made = edit.images(64)
    source, target = (torch.from_numpy(each).permute(2, 0, 1)[None] / 127.5 - 1 for each in (made.source, made.target))
    return Judged(
        near(target),
        source,
        target,
        torch.from_numpy(made.mask)[None, None],
        edit.source_prompt,
        edit.target_prompt,
        attributes(edit.source),
        attributes(edit.target),
    )


@pytest.mark.parametrize("name", LOCAL)
def test_the_true_picture_is_better_than_a_noisy_one(name: str, judged: Judged, networks: Networks) -> None:
    found = metric(name)
    noisy = found(judged, networks)
    ideal = torch.where(judged.mask, judged.truth, judged.source)  # type: ignore[arg-type]
    perfect = found(replace(judged, image=ideal, truth=ideal), networks)
    assert noisy is not None
    assert perfect is not None
    sign = 1 if found.better == "higher" else -1
    assert sign * perfect >= sign * noisy
    if name not in ("target-accuracy", "leakage"):
        assert sign * perfect > sign * noisy


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name: str) -> None:
    found = metric(name)
    assert isinstance(found, Metric)
    assert found.about
    assert ("PIE-Bench" in found.about) == ("_" in name)
    assert found.power in (0, 2, 3, 4)


@pytest.mark.parametrize("name", [name for name in LOCAL if "background" in name or "unedit" in name])
def test_without_a_background_there_is_no_number(name: str, judged: Judged, networks: Networks) -> None:
    everywhere = torch.ones_like(judged.mask)  # type: ignore[arg-type]
    assert metric(name)(replace(judged, mask=everywhere), networks) is None
    assert metric(name)(replace(judged, mask=None), networks) is None


@pytest.mark.parametrize("name", ["psnr", "ssim", "mse", "reader-distance", "target-accuracy", "leakage"])
def test_without_a_truth_there_is_no_number(name: str, judged: Judged, networks: Networks) -> None:
    assert metric(name)(replace(judged, truth=None, before=None, after=None), networks) is None


def test_the_form_of_pie_bench_counts_the_black_part_too(judged: Judged, networks: Networks) -> None:
    share = judged.background.double().mean().item()  # type: ignore[union-attr]
    whole, own = (metric(name)(judged, networks) for name in ("mse_unedit_part", "mse-background"))
    assert whole is not None
    assert own is not None
    assert 0.5 < share < 1
    assert whole == pytest.approx(own * share, rel=1e-6)


def test_attributes_are_judged_by_what_the_reader_sees(judged: Judged, networks: Networks, edit: Edit) -> None:
    unedited = replace(judged, image=judged.source)
    assert metric("target-accuracy")(unedited, networks) == 0
    assert metric("leakage")(unedited, networks) == metric("leakage")(replace(judged, image=judged.truth), networks)  # type: ignore[arg-type]


def test_the_reader_distance_is_a_mean_over_layers_of_unit_features(judged: Judged) -> None:
    reader, image, truth = Reader.load(), judged.image, judged.truth
    assert truth is not None
    expected = []
    for one, other in zip(reader.features(image), reader.features(truth), strict=True):
        cosine = torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=1)
        both = (one.norm(dim=1) > 0) & (other.norm(dim=1) > 0)
        assert both.all()
        expected.append((2 - 2 * cosine).mean())
    torch.testing.assert_close(
        reader_distance(image, truth, reader)[0], torch.stack(expected).mean(), rtol=1e-4, atol=1e-7
    )
    assert reader_distance(truth, truth, reader).item() == 0


def test_a_number_that_is_none_never_becomes_one() -> None:
    lost = Metric("nothing", "lower", of_background(lambda a, b, where, _: torch.tensor([math.nan])))
    assert lost(Judged(pictures(1), pictures(1), mask=left_half()), Networks()) is None
    with pytest.raises(ValueError, match="no metric is called 'beauty': use psnr, ssim"):
        metric("beauty")
