"""Edit-friendly noise maps (Huberman-Spiegelglas et al., CVPR 2024): no equation is solved, none has to have a root."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rnri_core.inversion.inversion import Inversion
from rnri_core.sampling.steps import Denoiser, Schedule, renoised
from rnri_core.solvers.equation import at_least_float32, norm
from rnri_core.solvers.solve import Solution, Status


def edit_friendly(m: Denoiser, schedule: Schedule, z_clean: Tensor, *, shift: int = 0, seed: int = 0) -> Inversion:
    """Latents drawn independently around ``z_clean`` (B, …), and the noise with which a stochastic sampler visits them.

    z_k = (α_k/α′) z_clean + √(σ_k² − (α_k σ′/α′)²) n_k, a new n_k for each step, drawn with ``seed`` and the same for
    every image; α′, σ′ are the levels of ``z_clean``. Each step is taken to its mean (:meth:`Step.ancestral`), and
    what is missing from there to the next latents is the noise map. One call per step, in any order.

    The noise maps are the inversion's corrections: sampling with them gives ``z_clean`` back to rounding error.
    As residuals they are as large as the noise of the sampler, and no sign of failure. An edit that keeps the
    first latents as they are leaves out the noisiest steps (a strength below 1). With a ``shift``, latents are noised
    as those of so many steps later are, which brings the noise maps of few-step samplers to the size that they expect
    (Deutch et al., SIGGRAPH Asia 2024, Section 4.1).

    >>> from rnri import sample
    >>> from rnri_core.sampling import steps as schedule
    >>> steps = schedule.flow([1.0, 0.5, 0.0], [1000, 500])
    >>> found = edit_friendly(lambda z, t: 0.1 * z, steps, torch.ones(1, 4))
    >>> again = sample(lambda z, t: 0.1 * z, found.schedule, found.noise, corrections=found.corrections)
    >>> torch.allclose(again, torch.ones(1, 4)), found.nfe
    (True, 2)
    """
    clean, generator = at_least_float32(z_clean.detach()), torch.Generator().manual_seed(seed)
    steps = tuple(step.ancestral() if step.c is None else replace(step, c=None) for step in schedule)
    end = schedule[-1].levels[2:]
    levels = [*(step.levels[:2] for step in steps), *[end] * shift][shift:]
    noises = [torch.randn(clean.shape[1:], generator=generator) for _ in steps]
    latents = [renoised(clean, end, level, noise) for level, noise in zip(levels, noises, strict=True)]
    latents.append(clean)
    maps = [end - step.denoise(m, z) for step, z, end in zip(steps, latents, latents[1:], strict=False)]
    solutions = tuple(_drawn(z, delta, end) for z, delta, end in zip(latents, maps, latents[1:], strict=False))
    return Inversion(steps, tuple(latents), solutions, tuple(maps), seed=seed)


def _drawn(z: Tensor, delta: Tensor, end: Tensor) -> Solution:
    """Latents that were not solved for; the one call goes to the account of the correction."""
    residual = (norm(delta) / norm(end)).flatten()
    drawn, diverged = (list(Status).index(status) for status in (Status.DRAWN, Status.DIVERGED))
    codes = torch.where(residual.isfinite(), drawn, diverged).to(torch.uint8)
    return Solution(z, residual, torch.stack([residual]), codes, nfe=0, njvp=0, nvjp=0)
