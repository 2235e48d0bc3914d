"""Denoiser → denoiser: what is laid over a network before it is sampled or inverted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rnri_core.sampling.steps import Denoiser

Combine = Callable[[Tensor, Tensor, float], Tensor]
"""(conditional output, output for the negative prompt, guidance) → what is sampled with, all (B, …)."""


def combine(conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022): base + guidance·(conditional − base).

    >>> combine(torch.tensor([2.0]), torch.tensor([1.0]), 3.0)
    tensor([4.])
    """
    return base + guidance * (conditional - base)


def guided(
    m: Denoiser, negative: Denoiser, guidance: float, *, rule: Combine = combine, threshold: float = 1.0
) -> Denoiser:
    """Guidance from two denoisers, combined by ``rule``.

    Up to ``threshold`` that is ``m`` itself, and ``negative`` is never called, as in the pipelines of diffusers.

    >>> guided(lambda z, t: z, lambda z, t: 0 * z, 3.0)(torch.ones(1), 0.0)
    tensor([3.])
    """
    if guidance <= threshold:
        return m
    return lambda z, t: rule(m(z, t), negative(z, t), guidance)


def guided_pair(pair: Denoiser, guidance: float, *, rule: Combine = combine) -> Denoiser:
    """The same from one denoiser on a doubled batch, whose first half is bound to the negative prompt.

    One network call of twice the size, often faster than two. There is no threshold.
    """

    def combined(z: Tensor, t: float) -> Tensor:
        base, conditional = pair(torch.cat([z, z]), t).chunk(2)
        return rule(conditional, base, guidance)

    return combined
