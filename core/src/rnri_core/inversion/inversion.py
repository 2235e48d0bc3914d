"""The inversion of an image: trajectory of latents, diagnostics of the equations, provenance."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers.equation import at_least_float32, calls, norm
from rnri_core.solvers.solve import Solution, Status, worst


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Latents at both ends of every sampling step, noise first.

        latents[k + 1] = schedule[k].denoise(m, latents[k]) + noise_maps[k]

    up to rounding where there are noise maps, up to the solver's residual where there are none.

    Attributes:
        schedule: K steps, noisy to clean.
        latents: K + 1 tensors (B, …) of one shape; ``latents[0]`` is the noise, ``latents[-1]`` the clean end.
        noise_maps: K tensors (B, …), or ``None``.

    Raises:
        RnriError: where the numbers or shapes of latents and noise maps do not fit the schedule.

    >>> from rnri_core.sampling.schedules import flow
    >>> Trajectory(flow([1.0, 0.5, 0.0], [1000, 500]), (torch.ones(1, 4),) * 2)
    Traceback (most recent call last):
    rnri_core.errors.RnriError: 2 latents are not both ends of 2 steps
    """

    schedule: Schedule
    latents: tuple[Tensor, ...]
    noise_maps: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        steps, shapes = len(self.schedule), {latents.shape for latents in self.latents}
        if not steps or len(self.latents) != steps + 1:
            raise RnriError(f"{len(self.latents)} latents are not both ends of {steps} steps")
        if self.noise_maps is not None:
            shapes |= {noise_map.shape for noise_map in self.noise_maps}
            if len(self.noise_maps) != steps:
                raise RnriError(f"{len(self.noise_maps)} noise maps are not one for each of {steps} steps")
        if len(shapes) != 1:
            raise RnriError(f"latents of one trajectory have one shape, not {sorted(map(tuple, shapes))}")


@dataclass(frozen=True)
class Provenance:
    """Provenance of an inversion: image, model and settings.

    Attributes:
        prompt: the source prompt that conditioned the network.
        model: fingerprint of the network's weights.
        size: (width, height) of the image, in pixels.
        guidance: guidance scale of the inversion.
        seed: seed of all noise.
        inverter: spec of the inverter that ran, presets resolved.
        solved: whether the noise solves the sampler's equations; of an edit, those of the image that was edited.
        engine, dtype, device: where the network ran.

    >>> Provenance(prompt="a red ball", size=(640, 480)).size
    (640, 480)
    """

    prompt: str = ""
    model: str = ""
    size: tuple[int, int] | None = None
    guidance: float = 1.0
    seed: int = 0
    inverter: str = ""
    solved: bool = False
    engine: str = "torch"
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Inversion:
    """A trajectory with its diagnostics and provenance: everything needed to sample an image again. Never changed.

    Attributes:
        trajectory: schedule, latents and noise maps.
        solutions: ``solutions[k]`` is the solution at ``latents[k]``; empty where no equation was solved.
        provenance: prompt, model, size, guidance, seed, inverter.

    Raises:
        RnriError: where solutions are not one for each step, or provenance does not count it as solved.

    The attributes of trajectory and provenance can be read from the inversion itself.

    >>> from rnri_core.inversion.presets import invert
    >>> from rnri_core.sampling.schedules import flow
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z
    >>> inversion = invert(m, steps, torch.ones(2, 4), "fixed-point", iterations=3)
    >>> inversion.noise.shape, inversion.residual.shape, inversion.nfe, inversion.status.name
    (torch.Size([2, 4]), torch.Size([2, 2]), 6, 'FIXED_BUDGET')
    >>> inversion.described(prompt="a red ball").prompt
    'a red ball'
    """

    trajectory: Trajectory
    solutions: tuple[Solution, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if self.solutions and len(self.solutions) != len(self.schedule):
            raise RnriError(f"{len(self.solutions)} solutions are not one for each of {len(self.schedule)} steps")
        if self.solutions and not self.solved:
            raise RnriError("solutions are of an inversion that solves equations", hint="set solved, or leave them out")

    @property
    def schedule(self) -> Schedule:
        """K sampling steps, noisy to clean."""
        return self.trajectory.schedule

    @property
    def latents(self) -> tuple[Tensor, ...]:
        """K + 1 latents (B, …), noise first."""
        return self.trajectory.latents

    @property
    def noise_maps(self) -> tuple[Tensor, ...] | None:
        """latents[k + 1] − denoise(latents[k]) of each step, where they were stored."""
        return self.trajectory.noise_maps

    @property
    def noise(self) -> Tensor:
        """The noisy end, (B, …)."""
        return self.latents[0]

    @property
    def clean(self) -> Tensor:
        """The latents that were inverted, (B, …)."""
        return self.latents[-1]

    @property
    def prompt(self) -> str:
        """The source prompt."""
        return self.provenance.prompt

    @property
    def model(self) -> str:
        """Fingerprint of the network's weights."""
        return self.provenance.model

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of the image, in pixels."""
        return self.provenance.size

    @property
    def guidance(self) -> float:
        """Guidance scale of the inversion."""
        return self.provenance.guidance

    @property
    def seed(self) -> int:
        """Seed of all noise."""
        return self.provenance.seed

    @property
    def solved(self) -> bool:
        """Whether the noise solves the sampler's equations; otherwise it is a noised image with noise maps."""
        return self.provenance.solved

    @property
    def status(self) -> Status:
        """The worst :class:`Status` of all steps and images; ``NOT_SOLVED`` where there are no solutions."""
        if self.solutions:
            return worst(status for solution in self.solutions for status in solution.status)
        finite = all(bool(noise_map.isfinite().all()) for noise_map in self.noise_maps or ())
        return Status.NOT_SOLVED if finite else Status.DIVERGED

    @property
    def residual(self) -> Tensor:
        """‖z_clean − denoise(z)‖ / ‖z_clean‖ of each step and image, shape (K, B).

        Of the latents themselves where there are noise maps (which are that difference), else of the last points
        evaluated, see :class:`Solution`; NaN where there are neither, as in a stack of inversions without noise maps.
        """
        if self.noise_maps is None:
            unknown = [torch.full((len(self.noise),), torch.nan)] * len(self.schedule)
            return torch.stack([solution.residual for solution in self.solutions] or unknown)
        pairs = zip(self.noise_maps, self.latents[1:], strict=True)
        return torch.stack([(norm(noise_map) / norm(clean)).flatten() for noise_map, clean in pairs])

    @property
    def nfe(self) -> int:
        """Plain network evaluations of the inversion, those of noise maps included."""
        return sum(solution.nfe for solution in self.solutions) + len(self.noise_maps or ())

    @property
    def njvp(self) -> int:
        """Exact Jacobian-vector products of the inversion, each about two evaluations."""
        return sum(solution.njvp for solution in self.solutions)

    @property
    def nvjp(self) -> int:
        """Exact vector-Jacobian products of the inversion, each about two evaluations."""
        return sum(solution.nvjp for solution in self.solutions)

    @property
    def calls(self) -> int:
        """Network evaluations of the inversion, an exact product counted as two."""
        return calls(self.nfe, self.njvp, self.nvjp)

    def sample(self, m: Denoiser) -> Tensor:
        """Clean latents (B, …), sampled from the noise with the network ``m`` and the noise maps."""
        return sample(m, self.schedule, self.noise, noise_maps=self.noise_maps)

    def described(self, **changes: Any) -> Inversion:
        """The same trajectory with other provenance: fields of :class:`Provenance` by name."""
        return replace(self, provenance=replace(self.provenance, **changes))

    def last(self, steps: int) -> Inversion:
        """The inversion of the last ``steps`` steps alone: what a strength below 1 inverts.

        Raises:
            RnriError: unless 1 ≤ ``steps`` ≤ K.
        """
        if not 1 <= steps <= len(self.schedule):
            raise RnriError(f"steps={steps} is out of range", hint=f"give 1 to {len(self.schedule)}", field="steps")
        first, whole = len(self.schedule) - steps, self.trajectory
        maps = None if whole.noise_maps is None else whole.noise_maps[first:]
        trajectory = Trajectory(whole.schedule[first:], whole.latents[first:], maps)
        return replace(self, trajectory=trajectory, solutions=self.solutions[first:])

    def row(self, index: int) -> Inversion:
        """The inversion of one image of the batch, as a batch of one.

        Raises:
            RnriError: unless 0 ≤ ``index`` < B.
        """
        if not 0 <= index < len(self.noise):
            raise RnriError(f"index={index} is out of range", hint=f"give 0 to {len(self.noise) - 1}", field="index")
        return self.mapped(lambda x, batch: x.narrow(batch, index, 1))

    def mapped(self, change: Callable[[Tensor, int], Tensor]) -> Inversion:
        """The inversion with ``change(tensor, batch dimension)`` for every tensor but those of the schedule."""
        maps = self.noise_maps
        trajectory = Trajectory(
            self.schedule,
            tuple(change(z, 0) for z in self.latents),
            None if maps is None else tuple(change(noise_map, 0) for noise_map in maps),
        )
        batch = {"z": 0, "residual": 0, "residuals": 1, "codes": 0}
        solutions: list[Solution] = []
        for each in self.solutions:
            changed: dict[str, Any] = {name: change(getattr(each, name), n) for name, n in batch.items()}
            solutions.append(replace(each, **changed))
        return replace(self, trajectory=trajectory, solutions=tuple(solutions))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, whole or not at all, that :meth:`load` reads back to the same bits."""
        from rnri_core.inversion.storage import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Inversion:
        """Read a file that :meth:`save` wrote.

        Raises:
            RnriError: where the file is damaged or is none of these.
        """
        from rnri_core.inversion.storage import load

        return load(path, device)


def stacked(inversions: Sequence[Inversion]) -> Inversion:
    """Inversions along one schedule as one of all their images, in order; provenance is that of the first.

    Solutions are left out: step by step they count evaluations of different runs.

    Raises:
        RnriError: where schedules differ, or only some have noise maps.

    >>> from rnri_core.inversion.presets import invert
    >>> from rnri_core.sampling.schedules import flow
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z
    >>> inversion = invert(m, steps, torch.ones(2, 4), "fixed-point")
    >>> stacked([inversion.row(0), inversion.row(1)]).noise.equal(inversion.noise)
    True
    """
    first = inversions[0]
    alike = {(tuple((s.t, s.a, s.b) for s in each.schedule), each.noise_maps is None) for each in inversions}
    if len(alike) > 1:
        raise RnriError("inversions along other steps, or with and without noise maps, make no batch")
    latents = tuple(torch.cat(each) for each in zip(*(one.latents for one in inversions), strict=True))
    maps = tuple(torch.cat(each) for each in zip(*(one.noise_maps or () for one in inversions), strict=True))
    return replace(first, trajectory=Trajectory(first.schedule, latents, maps or None), solutions=())


def sample(
    m: Denoiser,
    schedule: Schedule,
    z: Tensor,
    *,
    noise_maps: Sequence[Tensor] | None = None,
    callback: Callable[[int, Tensor], Tensor] | None = None,
) -> Tensor:
    """Run a sampler from noise to clean latents.

        z ← schedule[k].denoise(m, z) + noise_maps[k],   z ← callback(k, z)        for k = 0 … K − 1

    Args:
        m: the network, prompt and guidance bound.
        schedule: K steps, noisy to clean.
        z: noise (B, …).
        noise_maps: K tensors that broadcast to ``z``.
        callback: returns the latents to go on with after step k.

    Returns:
        Clean latents (B, …), float32 or better; K network evaluations.

    >>> from rnri_core.sampling.schedules import flow
    >>> sample(lambda z, t: z, flow([1.0, 0.5, 0.0], [1000, 500]), torch.ones(1, 1)).item()
    0.25
    """
    z = at_least_float32(z)
    for k, step in enumerate(schedule):
        z = step.denoise(m, z)
        if noise_maps is not None:
            z = z + noise_maps[k].to(z)
        if callback is not None:
            z = callback(k, z)
    return z
