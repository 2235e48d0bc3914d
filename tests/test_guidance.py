"""Guidance as a function from denoiser to denoiser."""

from __future__ import annotations

import pytest
import torch
from rnri_core.sampling.guidance import guided, guided_pair
from torch import Tensor

Z = torch.arange(6.0).view(2, 3)


def conditional(z: Tensor, t: float) -> Tensor:
    return z.sin() + t


def negative(z: Tensor, t: float) -> Tensor:
    return z.cos() - t


def pair(z: Tensor, t: float) -> Tensor:
    base, other = z.chunk(2)
    return torch.cat([negative(base, t), conditional(other, t)])


@pytest.mark.parametrize("guidance", [1.5, 7.5])
def test_guidance_extrapolates_from_the_negative(guidance: float) -> None:
    expected = (1 - guidance) * negative(Z, 2.0) + guidance * conditional(Z, 2.0)
    torch.testing.assert_close(guided(conditional, negative, guidance)(Z, 2.0), expected)
    torch.testing.assert_close(guided_pair(pair, guidance)(Z, 2.0), expected)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0])
def test_guidance_up_to_the_threshold_is_none(guidance: float) -> None:
    assert guided(conditional, negative, guidance) is conditional
    assert guided(conditional, negative, guidance, threshold=0.0) is not conditional or guidance == 0


def test_a_family_combines_as_it_does() -> None:
    def last(c: Tensor, u: Tensor, g: float) -> Tensor:
        return c + g * (c - u)

    expected = last(conditional(Z, 2.0), negative(Z, 2.0), 2.0)
    torch.testing.assert_close(guided(conditional, negative, 2.0, rule=last)(Z, 2.0), expected)
    torch.testing.assert_close(guided_pair(pair, 2.0, rule=last)(Z, 2.0), expected)
