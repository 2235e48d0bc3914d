"""Coupled samplers: two latents whose steps are inverted by algebra, without an equation to solve."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from rnri_core import publications
from rnri_core.errors import RnriError
from rnri_core.registry import Registered, option
from rnri_core.sampling.steps import Denoiser, Schedule, Step
from rnri_core.solvers.equation import at_least_float32

Pair = tuple[Tensor, Tensor]


class Coupled(Protocol):
    """A sampler on pairs of latents, each (B, …)."""

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor, *, seed: int = 0) -> PairInversion:
        """The pair at the noisy end that :meth:`sample` takes to ``z_clean`` (B, …)."""
        ...

    def sample(self, m: Denoiser, schedule: Schedule, noise: Pair) -> Tensor:
        """Clean latents (B, …) from the pair at the noisy end, the noisier latents first."""
        ...


@dataclass(frozen=True, eq=False)
class PairInversion:
    """The pair of latents at the noisy end, with the coupled sampler that takes it back.

    Attributes:
        sampler: EDICT or BDIA.
        schedule: K steps, noisy to clean.
        pair: two latents (B, …), the noisier first.
        nfe, njvp, nvjp: network evaluations and exact products of the inversion.
    """

    sampler: Coupled
    schedule: Schedule
    pair: Pair
    nfe: int
    njvp: int = 0
    nvjp: int = 0

    @property
    def noise(self) -> Tensor:
        """The noisier of the two latents, (B, …)."""
        return self.pair[0]

    def sample(self, m: Denoiser) -> Tensor:
        """Clean latents (B, …), sampled with the network ``m``."""
        return self.sampler.sample(m, self.schedule, self.pair)


@dataclass(frozen=True)
class Edict(Registered):
    """EDICT (Wallace, Gokul and Naik 2023): each of two latents is stepped by the network output at the other.

        x ← a x + b m(s y) + c,  y ← a y + b m(s x) + c,  x ← p x + (1 − p) y,  y ← p y + (1 − p) x

    Every line is inverted by itself. Of the first two lines, which comes first alternates from step to step; the mixing
    always begins with x, as in the authors' code. Two evaluations a step both ways. Inversion amplifies a difference
    between x and y by 1/p² a step: 50 steps at p = 0.93 amplify rounding a thousandfold and more, so give them
    float64.

    >>> import torch
    >>> from rnri_core.sampling.schedules import flow
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z.tanh()
    >>> inversion = Edict().invert(m, steps, torch.ones(1, 4))
    >>> torch.allclose(inversion.sample(m), torch.ones(1, 4)), inversion.nfe
    (True, 4)
    """

    source: ClassVar = publications.EDICT
    passage: ClassVar = "the coupled transformations and their mixing layers"

    mixing: float = option(0.93, "p, the weight of each latent in its own mixture", low=0.01, high=1.0)

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor, *, seed: int = 0) -> PairInversion:
        """The pair (x, y) at the noisy end; both are ``z_clean`` (B, …) at the other."""
        x = y = at_least_float32(z_clean.detach())
        for k in reversed(range(len(schedule))):
            step, p = schedule[k], self.mixing
            y = (y - (1 - p) * x) / p
            x = (x - (1 - p) * y) / p
            x, y = (y, x) if k % 2 else (x, y)
            y = step.inverse_step(y, step.model_output(m, x))
            x = step.inverse_step(x, step.model_output(m, y))
            x, y = (y, x) if k % 2 else (x, y)
        return PairInversion(self, schedule, (x, y), nfe=2 * len(schedule))

    def sample(self, m: Denoiser, schedule: Schedule, noise: Pair) -> Tensor:
        """x at the clean end, (B, …)."""
        x, y = map(at_least_float32, noise)
        for k, step in enumerate(schedule):
            p = self.mixing
            x, y = (y, x) if k % 2 else (x, y)
            x = step.step(x, step.model_output(m, y))
            y = step.step(y, step.model_output(m, x))
            x, y = (y, x) if k % 2 else (x, y)
            x = p * x + (1 - p) * y
            y = p * y + (1 - p) * x
        return x


@dataclass(frozen=True)
class Bdia(Registered):
    """BDIA (Zhang, Lewis and Kleijn 2024): a step that uses the latents before it, and so can be inverted.

        z_clean = Φ(z) + γ (z_noisy − Ψ(z)),     z_noisy = Ψ(z) + (z_clean − Φ(z))/γ

    Φ(z) is the sampler's own step to the clean side of z and Ψ(z) the same to the noisy side, both from one network
    output at z. γ, ``weight``, is the share of the integration towards the noise that is taken back; γ → 0 is the
    sampler itself. The pair is two neighbouring latents; the first pair of an inversion is made by an explicit step.
    One evaluation a step; inversion amplifies errors by 1/γ a step. For samplers that add no noise.

    >>> import torch
    >>> from rnri_core.sampling.schedules import flow
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z.tanh()
    >>> inversion = Bdia().invert(m, steps, torch.ones(1, 4))
    >>> torch.allclose(inversion.sample(m), torch.ones(1, 4)), inversion.nfe
    (True, 2)
    """

    source: ClassVar = publications.BDIA
    passage: ClassVar = "BDIA-DDIM, the update from two latents and its inverse"

    weight: float = option(1.0, "γ, the share of the last step that is taken back", low=0.01, high=1.0)

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor, *, seed: int = 0) -> PairInversion:
        """The two noisiest latents, noisier first; RnriError for a sampler that adds noise."""
        _refuse_noise(schedule)
        clean = at_least_float32(z_clean.detach())
        z = schedule[-1].inverse_step(clean, schedule[-1].model_output(m, clean))
        for step, before in itertools.pairwise(reversed(schedule)):
            down, up = _both_ways(step, before, z, step.model_output(m, z))
            z, clean = up + (clean - down) / self.weight, z
        return PairInversion(self, schedule, (z, clean), nfe=len(schedule))

    def sample(self, m: Denoiser, schedule: Schedule, noise: Pair) -> Tensor:
        """The clean end, (B, …)."""
        _refuse_noise(schedule)
        noisy, z = map(at_least_float32, noise)
        for before, step in itertools.pairwise(schedule):
            down, up = _both_ways(step, before, z, step.model_output(m, z))
            noisy, z = z, down + self.weight * (noisy - up)
        return z


def _both_ways(step: Step, before: Step, z: Tensor, output: Tensor) -> Pair:
    """The sampler's step from ``z`` to the clean side, and to the noise level at which ``before`` starts.

    Both are κ z + (α″ − α κ) x̂ with κ = σ″/σ and (α″, σ″) the levels there; x̂ is the x₀ prediction of ``output``.
    """
    down = step.step(z, output)
    alpha, sigma = step.levels[:2]
    alpha_up, sigma_up = before.levels[:2]
    return down, sigma_up / sigma * z + (alpha_up - alpha * sigma_up / sigma) * step.x0_from_step(z, down)


def _refuse_noise(schedule: Iterable[Step]) -> None:
    for step in schedule:
        if step.c is not None:
            raise RnriError(
                f"the step at t={step.t:g} adds noise, which BDIA cannot invert", hint="use a deterministic scheduler"
            )
