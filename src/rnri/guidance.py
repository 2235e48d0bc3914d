"""Denoiser → denoiser: what is laid over a network before it is sampled or inverted."""

from __future__ import annotations

import torch
from torch import Tensor

from rnri.schedule import Denoiser


def guided(m: Denoiser, negative: Denoiser, guidance: float) -> Denoiser:
    """Classifier-free guidance (Ho and Salimans 2022) from two denoisers: negative + guidance·(m − negative).

    At guidance 1 that is ``m`` itself, and ``negative`` is never called.

    >>> guided(lambda z, t: z, lambda z, t: 0 * z, 3.0)(torch.ones(1), 0.0)
    tensor([3.])
    """
    if guidance == 1.0:
        return m

    def combined(z: Tensor, t: float) -> Tensor:
        base = negative(z, t)
        return base + guidance * (m(z, t) - base)

    return combined


def guided_pair(pair: Denoiser, guidance: float) -> Denoiser:
    """The same from one denoiser on a doubled batch, whose first half is bound to the negative prompt.

    One network call of twice the size, often faster than two.
    """

    def combined(z: Tensor, t: float) -> Tensor:
        base, conditional = pair(torch.cat([z, z]), t).chunk(2)
        return base + guidance * (conditional - base)

    return combined
