"""Metrics against scikit-image, and what must hold for them."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from rnri.metrics import METRICS, psnr


def pictures(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 8, 10, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_psnr_is_that_of_scikit_image() -> None:
    image, reference = pictures(), pictures(seed=1)
    expected = [
        peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=2.0) for a, b in zip(image, reference, strict=True)
    ]
    torch.testing.assert_close(psnr(image, reference), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_psnr_of_equal_images_is_infinite() -> None:
    assert psnr(pictures(), pictures()).tolist() == [math.inf] * 3


@pytest.mark.parametrize("name", METRICS)
def test_a_batch_equals_one_by_one_and_one_reference_serves_all(name: str) -> None:
    image, reference = pictures(), pictures(seed=1)
    assert METRICS[name](image, reference).shape == (3,)
    for n in range(3):
        alone = METRICS[name](image[n : n + 1], reference[n : n + 1])
        assert torch.equal(METRICS[name](image, reference)[n : n + 1], alone)
    assert torch.equal(METRICS[name](image, reference[:1])[:1], METRICS[name](image[:1], reference[:1]))


@pytest.mark.parametrize("other", [pictures()[..., :-1], pictures(2)])
def test_what_cannot_be_compared(other: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"images of shapes \(3, 3, 8, 10\) and .* cannot be compared: resize"):
        psnr(pictures(), other)
