"""The equation of a sampling step: timestep and priors, for the few solvers that are defined on diffusion samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.solvers.equation import Equation


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(scale · center, variance · I), with ``center`` of the shape (B, …) of the root.

    >>> import torch
    >>> Gaussian(torch.ones(1, 2), 0.5, 1.0).mean
    tensor([[0.5000, 0.5000]])
    """

    center: Tensor
    scale: float
    variance: float

    @property
    def mean(self) -> Tensor:
        """scale · center, (B, …)."""
        return self.scale * self.center

    @property
    def deviation(self) -> float:
        """√variance."""
        return float(self.variance**0.5)


@dataclass(frozen=True, eq=False)
class Priors:
    """Distributions of the noisy latents z of a sampling step before the step is inverted, and its timestep.

    Attributes:
        t: timestep of the step.
        effective: q(z | z_clean) over the whole step.
        dense: q(z | z_clean) over the last training timestep alone.
        path: where the step leads to ``z_clean`` along white noise n: (α/α′)(z_clean − c) + (σ − σ′α/α′) n.
        whole: q(z | x₀) = N(α x₀, σ²), or ``None`` where x₀ was not given.
    """

    t: float
    effective: Gaussian
    dense: Gaussian
    path: Gaussian
    whole: Gaussian | None = None

    @property
    def image(self) -> Gaussian:
        """q(z | x₀); RnriError where x₀ was not given."""
        if self.whole is None:
            raise RnriError("this equation has no prior of the whole image", hint="give the image's latents")
        return self.whole


class StepEquation(Equation):
    """z = g(z) of a sampling step, with its :class:`Priors`; made by :meth:`rnri_core.sampling.steps.Step.equation`.

    >>> import torch
    >>> from rnri_core.sampling.schedules import flow
    >>> equation = flow([0.75, 0.5], [750])[0].equation(lambda z, t: 0.1 * z, torch.ones(1, 1))
    >>> equation.priors.t, equation.priors.effective.mean.item()
    (750.0, 0.5)
    """

    def __init__(self, *args: Any, priors: Priors, **options: Any) -> None:
        super().__init__(*args, **options)
        self.priors = priors


def priors(eq: Equation) -> Priors | None:
    """The priors of an equation of a sampling step, ``None`` for any other: a flat prior, and no timestep.

    >>> priors(Equation(lambda z: 0.5 * z)) is None
    True
    """
    return eq.priors if isinstance(eq, StepEquation) else None
