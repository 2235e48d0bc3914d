"""Edit-friendly DDPM inversion: independently noised latents, and the noise maps that join them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.inversion.inversion import Inversion, Provenance, Trajectory
from rnri_core.registry import Registered, option
from rnri_core.sampling.steps import Denoiser, Schedule, add_noise
from rnri_core.solvers.equation import at_least_float32


@dataclass(frozen=True)
class EditFriendly(Registered):
    """Latents noised independently around the image, and the noise with which a stochastic sampler visits them.

        latents[k] = (α_k/α′) z_clean + √(σ_k² − (α_k σ′/α′)²) n_k,   n_k ~ N(0, I)
        noise_maps[k] = latents[k+1] − mean of the ancestral step from latents[k]

    α′, σ′ are the levels of ``z_clean``; ``n_k`` is generated from ``seed``, the same for every image. One network
    evaluation a step, in any order. Noise maps are as large as the noise of the sampler: as residuals they are no
    sign of failure. ``shift`` noises each latent as that of so many steps later, which brings the noise maps of
    few-step samplers to the size that these expect (Deutch et al., SIGGRAPH Asia 2024, Section 4.1).

    >>> from rnri_core.sampling.schedules import flow
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z
    >>> inversion = EditFriendly().invert(m, steps, torch.ones(1, 4))
    >>> torch.allclose(inversion.sample(m), torch.ones(1, 4)), inversion.nfe
    (True, 2)
    """

    source: ClassVar = publications.EDIT_FRIENDLY
    passage: ClassVar = "Algorithm 1"

    shift: int = option(0, "steps by which latents are noised less than their own", low=0, high=100)

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor, *, seed: int = 0) -> Inversion:
        """See :class:`rnri_core.inversion.implicit.Inverter`."""
        clean, generator = at_least_float32(z_clean.detach()), torch.Generator().manual_seed(seed)
        steps = tuple(step.ancestral() if step.c is None else replace(step, c=None) for step in schedule)
        end = schedule[-1].levels[2:]
        levels = [*(step.levels[:2] for step in steps), *[end] * self.shift][self.shift :]
        noises = [torch.randn(clean.shape[1:], generator=generator) for _ in steps]
        latents = [add_noise(clean, end, level, noise) for level, noise in zip(levels, noises, strict=True)]
        latents.append(clean)
        maps = [z_next - step.denoise(m, z) for step, z, z_next in zip(steps, latents, latents[1:], strict=False)]
        return Inversion(Trajectory(steps, tuple(latents), tuple(maps)), provenance=Provenance(seed=seed))
