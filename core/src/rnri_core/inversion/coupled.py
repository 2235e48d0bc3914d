"""Samplers that carry two latents and are inverted by algebra: no equation is solved, none has to have a root.

Each answers with a pair of latents instead of one. Sampling that pair with the same prompt retraces the way to
rounding error; sampling it with another prompt is the edit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from rnri_core import publications as sources
from rnri_core.errors import RnriError
from rnri_core.registry import Source
from rnri_core.sampling.steps import Denoiser, Schedule, Step
from rnri_core.solvers.equation import at_least_float32

Pair = tuple[Tensor, Tensor]


class Coupled(Protocol):
    """A sampler on pairs of latents, each (B, …)."""

    source: ClassVar[Source]

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor) -> Pair:
        """The pair at the noisy end that :meth:`sample` takes to ``z_clean`` (B, …); the noisier latents first."""
        ...

    def sample(self, m: Denoiser, schedule: Schedule, noise: Pair) -> Tensor:
        """The image's latents (B, …) from the pair at the noisy end."""
        ...


@dataclass(frozen=True)
class Edict:
    """EDICT (Wallace, Gokul and Naik 2023): x is moved by what the network says of y, then y by what it says of x.

        x ← a x + b m(s y) + c,  y ← a y + b m(s x) + c,  x ← p x + (1 − p) y,  y ← p y + (1 − p) x

    Every line is undone by itself. Of the first two lines, which comes first alternates from step to step; the mixing
    always begins with x, as in the authors' code. Two calls per step both ways; 1/p² per step is by how much inversion
    amplifies a difference between x and y, so 50 steps at ``mixing`` p = 0.93 amplify rounding a thousandfold and more:
    give such schedules float64.

    >>> import torch
    >>> from rnri_core.sampling import steps as schedule
    >>> steps, m = schedule.flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z.tanh()
    >>> noise = Edict().invert(m, steps, torch.ones(1, 4))
    >>> torch.allclose(Edict().sample(m, steps, noise), torch.ones(1, 4))
    True
    """

    source: ClassVar = sources.EDICT
    mixing: float = 0.93

    def __post_init__(self) -> None:
        _require("mixing", self.mixing)

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor) -> Pair:
        """The pair (x, y) at the noisy end; both are ``z_clean`` (B, …) at the other."""
        x = y = at_least_float32(z_clean.detach())
        for k in reversed(range(len(schedule))):
            step, p = schedule[k], self.mixing
            y = (y - (1 - p) * x) / p
            x = (x - (1 - p) * y) / p
            x, y = (y, x) if k % 2 else (x, y)
            y = step.undo(y, step.say(m, x))
            x = step.undo(x, step.say(m, y))
            x, y = (y, x) if k % 2 else (x, y)
        return x, y

    def sample(self, m: Denoiser, schedule: Schedule, noise: Pair) -> Tensor:
        """x at the clean end, (B, …)."""
        x, y = map(at_least_float32, noise)
        for k, step in enumerate(schedule):
            p = self.mixing
            x, y = (y, x) if k % 2 else (x, y)
            x = step.advance(x, step.say(m, y))
            y = step.advance(y, step.say(m, x))
            x, y = (y, x) if k % 2 else (x, y)
            x = p * x + (1 - p) * y
            y = p * y + (1 - p) * x
        return x


@dataclass(frozen=True)
class Bdia:
    """BDIA (Zhang, Lewis and Kleijn 2024): a step that also knows where it comes from, and so can be undone.

        z_clean = Φ(z) + γ (z_noisy − Ψ(z)),     z_noisy = Ψ(z) + (z_clean − Φ(z))/γ

    Φ(z) is the sampler's own step to the clean side of z and Ψ(z) the same to the noisy side, both from one network
    output at z. ``weight`` γ is the share of the integration towards the noise that is taken back; γ → 0 is the
    sampler itself. The pair is two neighbouring latents. The first pair of an inversion is made by an explicit step,
    the last step of which nothing is exact but its retracing. One call per step; inversion amplifies errors by 1/γ
    a step.

    Only for deterministic samplers: frozen noise would have to be taken back too.
    """

    source: ClassVar = sources.BDIA
    weight: float = 1.0

    def __post_init__(self) -> None:
        _require("weight", self.weight)

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor) -> Pair:
        """The two noisiest latents, noisier first; ``ValueError`` for a sampler that adds noise."""
        _refuse_noise(schedule)
        clean = at_least_float32(z_clean.detach())
        z = schedule[-1].undo(clean, schedule[-1].say(m, clean))
        for step, before in itertools.pairwise(reversed(schedule)):
            down, up = _both_ways(step, before, z, step.say(m, z))
            z, clean = up + (clean - down) / self.weight, z
        return z, clean

    def sample(self, m: Denoiser, schedule: Schedule, noise: Pair) -> Tensor:
        """The clean end, (B, …)."""
        _refuse_noise(schedule)
        noisy, z = map(at_least_float32, noise)
        for before, step in itertools.pairwise(schedule):
            down, up = _both_ways(step, before, z, step.say(m, z))
            noisy, z = z, down + self.weight * (noisy - up)
        return z


def _both_ways(step: Step, before: Step, z: Tensor, output: Tensor) -> Pair:
    """Where the sampler takes ``z``, and where it would take it towards the noise, to the level ``before`` starts at.

    Both are κ z + (α″ − α κ) x̂ with κ = σ″/σ and (α″, σ″) the levels there; x̂ is what ``output`` says of the image.
    """
    down = step.advance(z, output)
    alpha, sigma, alpha_down, sigma_down = step.levels
    image = (down - sigma_down / sigma * z) / (alpha_down - alpha * sigma_down / sigma)
    alpha_up, sigma_up = before.levels[:2]
    return down, sigma_up / sigma * z + (alpha_up - alpha * sigma_up / sigma) * image


def _refuse_noise(schedule: Iterable[Step]) -> None:
    for step in schedule:
        if step.c is not None:
            raise RnriError(f"the step at t={step.t:g} adds noise, which BDIA cannot take back; use another sampler")


def _require(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise RnriError(f"{name}={value} is out of range", hint="give more than 0 and at most 1")


COUPLED: dict[str, Coupled] = {"edict": Edict(), "bdia": Bdia()}
"""As published, by name."""
