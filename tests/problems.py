"""Fixed-point problems that own their roots, and the tolerance that goes with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from rnri_core.sampling.schedules import ddim
from rnri_core.sampling.steps import Step
from rnri_core.solvers import solver
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.solve import Solution, solve
from torch import Tensor

SHAPE = (3, 2, 2, 3)  # images, channels, height, width
DIMENSION = 12


@dataclass(frozen=True)
class Problem:
    """z = g(z) with ``root`` (B, C, H, W); ``rate`` bounds how fast the slowest error of a fixed point shrinks."""

    g: Callable[[Tensor], Tensor]
    root: Tensor
    rate: float
    bounds: tuple[float, float]
    start: Tensor

    def equation(self) -> Equation:
        return Equation(self.g, target=self.root, bounds=self.bounds)

    def tolerance(self) -> float:
        """Relative error of a root found to rounding: a few roundings of each element, amplified by 1/(1 − rate)."""
        return 200 * torch.finfo(self.root.dtype).eps / (1 - self.rate)

    def error(self, z: Tensor) -> float:
        return float(((z - self.root).norm() / self.root.norm()).item())


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers that leave the global random state alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def linear(dtype: torch.dtype, eigenvalues: Tensor, seed: int = 0) -> Problem:
    """g(z) = M z + q, M symmetric with these eigenvalues."""
    basis, _ = torch.linalg.qr(normal(DIMENSION, DIMENSION, seed=seed))
    matrix = (basis @ torch.diag(eigenvalues.double()) @ basis.T).to(dtype)
    root = normal(*SHAPE, seed=seed + 1, dtype=dtype)

    def apply(z: Tensor) -> Tensor:
        # image by image: a product over the whole batch may round differently from one over a single image
        return torch.stack([(matrix @ image.flatten()).view(image.shape) for image in z])

    offset = root - apply(root)

    bounds = (float(eigenvalues.min()), float(eigenvalues.max()))
    return Problem(lambda z: apply(z) + offset, root, max(abs(b) for b in bounds), bounds, torch.zeros_like(root))


def contraction(dtype: torch.dtype) -> Problem:
    return linear(dtype, torch.linspace(0.0, 0.8, DIMENSION))


def oscillating(dtype: torch.dtype) -> Problem:
    return linear(dtype, torch.linspace(-0.6, 0.3, DIMENSION), seed=10)


def saturating(dtype: torch.dtype) -> Problem:
    root = normal(*SHAPE, seed=20, dtype=dtype)
    offset = root - 0.5 * root.tanh()
    return Problem(lambda z: 0.5 * z.tanh() + offset, root, 0.5, (0.0, 0.5), torch.zeros_like(root))


def constant(dtype: torch.dtype) -> Problem:
    root = normal(*SHAPE, seed=30, dtype=dtype)
    return Problem(lambda z: root + 0.0 * z, root, 0.0, (0.0, 0.0), torch.zeros_like(root))


def gaussian_step(dtype: torch.dtype) -> Problem:
    """One DDIM step of the exact denoiser of data N(0, 1/4): linear, with its root in closed form."""
    step, m = gaussian_schedule()[1], gaussian_denoiser
    root = normal(*SHAPE, seed=40, dtype=dtype)
    clean = step.denoise(m, root)
    low, high = step.equation(m, clean).bounds
    return Problem(lambda z: step.inverse_step(clean, m(z, step.t)), root, high, (low, high), clean)


ALPHAS_CUMPROD = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
BARS: list[float] = ALPHAS_CUMPROD.tolist()


def gaussian_schedule() -> tuple[Step, ...]:
    return ddim(ALPHAS_CUMPROD, [999, 749, 499, 249])


def gaussian_denoiser(z: Tensor, t: float) -> Tensor:
    """ε(z) for data N(0, 1/4 · I): σ z / (α²/4 + σ²)."""
    bar = BARS[int(t)]
    output: Tensor = (1 - bar) ** 0.5 / (bar / 4 + 1 - bar) * z
    return output


PROBLEMS: dict[str, Callable[[torch.dtype], Problem]] = {
    "contraction": contraction,
    "oscillating": oscillating,
    "saturating": saturating,
    "constant": constant,
    "gaussian step": gaussian_step,
}


def solved(name: str, problem: Problem, max_iter: int, tol: float | None = None) -> Solution:
    """The problem solved by the method of that name."""
    return solve(problem.equation(), problem.start, solver(name), max_iter=max_iter, tol=tol)
