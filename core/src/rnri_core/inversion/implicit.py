"""Implicit inversion: every sampling step is inverted by solving its fixed-point equation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion, Provenance, Trajectory
from rnri_core.sampling.steps import Denoiser, Schedule, Step, add_noise
from rnri_core.solvers.equation import at_least_float32
from rnri_core.solvers.solve import Solution, Solver, solve

Init = Literal["clean", "noised", "predicted", "noised-predicted"]
"""Initial guess of each step. ``clean``: its clean end. ``noised``: the step next to the image starts at a sample of
q(z | z_clean), the others at their clean ends. ``predicted``: each step but the first starts from the network output
that the solution of the step before implies, z⁰ = inverse_step(z_clean, implied output), for no evaluation.
``noised-predicted``: both."""

INITS: tuple[Init, ...] = ("clean", "noised", "predicted", "noised-predicted")


class Inverter(Protocol):
    """A method of inversion: clean latents in, their trajectory along a schedule out."""

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor, *, seed: int = 0) -> Inversion:
        """Invert clean latents.

        Args:
            m: the network, prompt and guidance bound.
            schedule: K steps, noisy to clean.
            z_clean: clean latents (B, …).
            seed: seed of all noise.

        Returns:
            The inversion; of its provenance, ``seed`` and ``solved`` are set.
        """
        ...


@dataclass(frozen=True)
class Implicit:
    """Solve z = inverse_step(z_clean, m(z)) for each step, from the image outwards.

    Attributes:
        solver: the iteration, see :mod:`rnri_core.solvers`.
        iterations: of each step, or a plan from the image outwards whose last entry repeats: ``(5, 1)`` takes five at
            the step next to the image and one at each other; :func:`rnri_core.inversion.budget.allot` makes a plan.
        tol: residual at which an image stops iterating, or ``None`` for all iterations.
        init: the initial guess of each step.
        noise_maps: store latents[k+1] − denoise(latents[k]), one more evaluation a step: sampling with them gives
            the clean latents back to rounding error whatever the solver did.

    >>> from rnri_core.inversion.inversion import sample
    >>> from rnri_core.sampling.schedules import flow
    >>> from rnri_core.solvers import solver
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z
    >>> inversion = Implicit(solver("fixed-point"), iterations=9).invert(m, steps, torch.ones(1, 4))
    >>> torch.allclose(sample(m, steps, inversion.noise), torch.ones(1, 4))
    True
    """

    solver: Solver
    iterations: int | Sequence[int] = 5
    tol: float | None = None
    init: Init = "clean"
    noise_maps: bool = False

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise RnriError(f"init={self.init!r} is not one of {', '.join(INITS)}", field="init")
        self.plan(1)

    def plan(self, steps: int) -> list[int]:
        """Iterations of each of ``steps`` steps, from the image outwards.

        Raises:
            RnriError: for a step without iterations.
        """
        plan = [self.iterations] if isinstance(self.iterations, int) else list(self.iterations)
        if not plan or min(plan) < 1:
            raise RnriError(
                f"iterations={self.iterations!r} leave a step without any",
                hint="give a number, or several, each at least 1",
                field="iterations",
            )
        return (plan + plan[-1:] * steps)[:steps]

    def invert(self, m: Denoiser, schedule: Schedule, z_clean: Tensor, *, seed: int = 0) -> Inversion:
        """See :class:`Inverter`."""
        z = image = at_least_float32(z_clean.detach())
        latents: list[Tensor] = [image]
        solutions: list[Solution] = []
        maps: list[Tensor] = []
        output: Tensor | None = None
        for step, max_iter in zip(reversed(schedule), self.plan(len(schedule)), strict=True):
            guess = self._guess(step, z, output, seed)
            solution = solve(step.equation(m, z, image), guess, self.solver, max_iter=max_iter, tol=self.tol)
            if self.noise_maps:
                maps.append(z - step.denoise(m, solution.z))
            output = step.implied_output(solution.z, z)
            z = solution.z
            latents.append(z)
            solutions.append(solution)
        noise_maps = tuple(reversed(maps)) if self.noise_maps else None
        return Inversion(
            Trajectory(schedule, tuple(reversed(latents)), noise_maps),
            tuple(reversed(solutions)),
            Provenance(seed=seed, solved=True),
        )

    def _guess(self, step: Step, z: Tensor, output: Tensor | None, seed: int) -> Tensor:
        if output is not None:
            return step.inverse_step(z, output) if self.init.endswith("predicted") else z
        if not self.init.startswith("noised"):
            return z
        noise = torch.randn(z.shape[1:], generator=torch.Generator().manual_seed(seed))
        return add_noise(z, step.levels[2:], step.levels[:2], noise)
