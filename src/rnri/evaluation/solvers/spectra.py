"""How strongly each step's equation contracts, beside the bounds that its schedule gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rnri_core.solvers.equation import Equation, dot, norm
from torch import Tensor

from rnri.evaluation.records import Line, Records
from rnri.evaluation.solvers.convergence import Convergence


@dataclass(frozen=True)
class SpectrumSetting:
    """The steps of one model; ``products`` pairs of exact products go into each norm."""

    model: str
    fingerprint: str
    steps: int
    products: int
    seed: int


@dataclass(frozen=True)
class Spectrum:
    """Lists with one entry per step, noisy to clean.

    Attributes:
        t: timestep.
        norm: largest singular value of J = ∂g/∂z.
        quotient: Rayleigh quotient vᵀJv of its singular vector; as large where J is symmetric with that eigenvalue.
        low, high: bounds of the eigenvalues that are known beforehand.
    """

    t: list[float]
    norm: list[float]
    quotient: list[float]
    low: list[float]
    high: list[float]


SpectrumLine = Line[SpectrumSetting, Spectrum]
SPECTRA = Records("spectra.jsonl", SpectrumSetting, Spectrum)


class Spectra:
    """Measures Jacobians at noised pictures α x₀ + σ n, with their own prompts.

    For :meth:`rnri.evaluation.records.Records.extend`. J does not depend on the clean end of the step, nor on a solver.
    """

    def __init__(self, cases: Convergence) -> None:
        self.cases = cases

    def __call__(self, setting: SpectrumSetting, indices: Sequence[int]) -> list[Spectrum]:
        """One measurement per picture."""
        return [self._one(setting, index) for index in indices]

    def _one(self, setting: SpectrumSetting, index: int) -> Spectrum:
        model, case = self.cases.models[setting.model], self.cases.case(setting.model, "heldout", index)
        generator = torch.Generator().manual_seed(setting.seed + index)
        schedule = model.schedule(setting.steps, generator=generator)
        noise = torch.randn(case.latents.shape, generator=generator).to(case.latents)
        m = model.denoiser(model.embed([case.edit.source_prompt]))
        spectrum = Spectrum([], [], [], [], [])
        for step in schedule:
            alpha, sigma = step.levels[:2]
            equation = step.equation(m, case.latents)
            size, quotient = largest(equation, alpha * case.latents + sigma * noise, setting.products, noise)
            spectrum.t.append(step.t)
            spectrum.norm.append(size.item())
            spectrum.quotient.append(quotient.item())
            spectrum.low.append(equation.bounds[0])
            spectrum.high.append(equation.bounds[1])
        return spectrum


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
