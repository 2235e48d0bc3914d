"""Classifier-free guidance: one denoiser made of the outputs for two prompts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rnri_core.sampling.steps import Denoiser

Combine = Callable[[Tensor, Tensor, float], Tensor]
"""(conditional output, output for the negative prompt, guidance scale) → guided output, all (B, …)."""


def combine(conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, Eq. 6): base + guidance·(conditional − base).

    Args:
        conditional: network output for the prompt, (B, …).
        base: network output for the empty or negative prompt, (B, …).
        guidance: guidance scale; 1 is the conditional output.

    >>> combine(torch.tensor([2.0]), torch.tensor([1.0]), 3.0)
    tensor([4.])
    """
    return base + guidance * (conditional - base)


def guided(
    m: Denoiser, negative: Denoiser, guidance: float, *, rule: Combine = combine, threshold: float = 1.0
) -> Denoiser:
    """A guided denoiser from two denoisers.

    Args:
        m: the network with the prompt bound.
        negative: the network with the negative prompt bound.
        guidance: guidance scale.
        rule: combines the two outputs.
        threshold: up to this scale the result is ``m`` itself, and ``negative`` is never called, as in diffusers.

    >>> guided(lambda z, t: z, lambda z, t: 0 * z, 3.0)(torch.ones(1), 0.0)
    tensor([3.])
    """
    if guidance <= threshold:
        return m
    return lambda z, t: rule(m(z, t), negative(z, t), guidance)


def guided_pair(pair: Denoiser, guidance: float, *, rule: Combine = combine) -> Denoiser:
    """A guided denoiser from one denoiser on a doubled batch: one network call of twice the size, at any scale.

    Args:
        pair: the network bound to the negative prompt in the first half of its batch, to the prompt in the second.
        guidance: guidance scale.
        rule: combines the two outputs.

    >>> guided_pair(lambda z, t: torch.cat([0 * z[:1], z[1:]]), 3.0)(torch.ones(1), 0.0)
    tensor([3.])
    """

    def combined(z: Tensor, t: float) -> Tensor:
        base, conditional = pair(torch.cat([z, z]), t).chunk(2)
        return rule(conditional, base, guidance)

    return combined
