"""How strongly each step's equation contracts, beside what its schedule promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rnri_core.solvers.equation import Equation, dot, norm
from torch import Tensor

from rnri.evaluation.solvers.convergence import Convergence


@dataclass(frozen=True)
class SpectrumConfiguration:
    """The steps of one model; ``products`` pairs of exact products go into each norm."""

    model: str
    fingerprint: str
    steps: int
    products: int
    seed: int


@dataclass(frozen=True)
class Spectrum:
    """For each step, noisy to clean: its timestep, the largest singular value of J = ∂g/∂z, its Rayleigh quotient vᵀJv
    (as large if J is symmetric and that eigenvalue positive), and the bounds of the eigenvalues known beforehand.
    """

    t: list[float]
    norm: list[float]
    quotient: list[float]
    low: list[float]
    high: list[float]


class Spectra:
    """Measures Jacobians at noised pictures α x₀ + σ n, with their own prompts.

    For :func:`rnri.evaluation.records.run`. J does not depend on the clean end of the step, nor on any solver.
    """

    def __init__(self, cases: Convergence) -> None:
        self.cases = cases

    def __call__(self, configuration: SpectrumConfiguration, indices: Sequence[int]) -> list[Spectrum]:
        """One measurement per picture."""
        return [self._one(configuration, index) for index in indices]

    def _one(self, configuration: SpectrumConfiguration, index: int) -> Spectrum:
        model, case = self.cases.models[configuration.model], self.cases.case(configuration.model, "heldout", index)
        generator = torch.Generator().manual_seed(configuration.seed + index)
        schedule = model.schedule(configuration.steps, generator=generator)
        noise = torch.randn(case.latents.shape, generator=generator).to(case.latents)
        m = model.denoiser(model.embed([case.edit.source_prompt]))
        found = Spectrum([], [], [], [], [])
        for step in schedule:
            alpha, sigma = step.levels[:2]
            equation = step.equation(m, case.latents)
            size, quotient = largest(equation, alpha * case.latents + sigma * noise, configuration.products, noise)
            found.t.append(step.t)
            found.norm.append(size.item())
            found.quotient.append(quotient.item())
            found.low.append(equation.bounds[0])
            found.high.append(equation.bounds[1])
        return found


def largest(eq: Equation, z: Tensor, products: int, start: Tensor) -> tuple[Tensor, Tensor]:
    """‖J‖₂ of J = ∂g/∂z at ``z`` and vᵀJv, v its singular vector, each (B, 1, …, 1), by power iteration on JᵀJ.

    >>> eq = Equation(lambda z: z * torch.tensor([0.1, -0.9]))
    >>> [round(x.item(), 4) for x in largest(eq, torch.zeros(1, 2), 20, torch.ones(1, 2))]
    [0.9, -0.9]
    """
    v = start / norm(start)
    image = eq.jvp(z, v)
    for _ in range(products):
        v = eq.vjp(z, image)
        v = v / norm(v).clamp_min(torch.finfo(v.dtype).tiny)
        image = eq.jvp(z, v)
    return norm(image), dot(v, image)
