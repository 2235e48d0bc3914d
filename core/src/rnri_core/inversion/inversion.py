"""From an image's latents back along a schedule, and forth again. An :class:`Inversion` is what editing starts from."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Denoiser, Schedule, Step, renoised
from rnri_core.solvers.equation import at_least_float32, calls, norm
from rnri_core.solvers.solve import Solution, Solver, Status, solve

FORMAT = "rnri inversion 1"


@dataclass(frozen=True, eq=False)
class Inversion:
    """Everything needed to sample an image again: a value, never changed.

    All indices are the schedule's: ``schedule[k]`` takes ``latents[k]`` to ``latents[k + 1]``, ``solutions[k]`` is
    how ``latents[k]`` was found, and ``corrections[k]`` is latents[k+1] − denoise(latents[k]) where it was asked
    for. So ``latents[0]`` is the noise and ``latents[-1]`` the image, each (B, …).

    ``prompt``, ``model`` (a fingerprint), ``size`` (width, height of the image as given), ``guidance`` and ``seed``
    say what the numbers belong to.
    """

    schedule: Schedule
    latents: tuple[Tensor, ...]
    solutions: tuple[Solution, ...]
    corrections: tuple[Tensor, ...] | None = None
    prompt: str = ""
    model: str = ""
    size: tuple[int, int] | None = None
    guidance: float = 1.0
    seed: int = 0

    @property
    def noise(self) -> Tensor:
        """The noisy end, (B, …)."""
        return self.latents[0]

    @property
    def clean(self) -> Tensor:
        """The latents that were inverted, (B, …)."""
        return self.latents[-1]

    @property
    def drawn(self) -> bool:
        """Whether latents are draws and nothing was solved: noise is the picture only with its corrections."""
        return any(Status.DRAWN in solution.status for solution in self.solutions)

    @property
    def residual(self) -> Tensor:
        """‖z_clean − denoise(z)‖ / ‖z_clean‖ of each step and image, shape (K, B).

        Of the latents themselves where there are corrections (they are that difference), else of the last points
        evaluated, as :class:`Solution` has it.
        """
        if self.corrections is None:
            return torch.stack([solution.residual for solution in self.solutions])
        pairs = zip(self.corrections, self.latents[1:], strict=True)
        return torch.stack([(norm(delta) / norm(clean)).flatten() for delta, clean in pairs])

    @property
    def nfe(self) -> int:
        """Plain network calls the inversion made, corrections included."""
        return sum(solution.nfe for solution in self.solutions) + len(self.corrections or ())

    @property
    def njvp(self) -> int:
        """Exact Jacobian products the inversion made, each about two calls."""
        return sum(solution.njvp for solution in self.solutions)

    @property
    def nvjp(self) -> int:
        """Exact transposed products the inversion made, each about two calls."""
        return sum(solution.nvjp for solution in self.solutions)

    @property
    def calls(self) -> int:
        """Network calls the inversion made, corrections included, an exact product counted as two."""
        return calls(self.nfe, self.njvp, self.nvjp)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, which :meth:`load` reads back to the same bits; never half a file."""
        tensors: dict[str, Tensor] = {}
        steps: list[dict[str, Any]] = []
        for k, (step, solution) in enumerate(zip(self.schedule, self.solutions, strict=True)):
            numbers = asdict(replace(step, c=None))
            del numbers["c"]
            steps.append(numbers | {"nfe": solution.nfe, "njvp": solution.njvp, "nvjp": solution.nvjp})
            tensors |= {f"{k}.{name}": getattr(solution, name) for name in ("residual", "residuals", "codes")}
            if step.c is not None:
                tensors[f"{k}.c"] = step.c
            if self.corrections is not None:
                tensors[f"{k}.correction"] = self.corrections[k]
        tensors |= {f"{k}.latents": latents for k, latents in enumerate(self.latents)}
        header = {
            "format": FORMAT,
            "steps": steps,
            "prompt": self.prompt,
            "model": self.model,
            "size": self.size,
            "guidance": self.guidance,
            "seed": self.seed,
        }
        data = safetensors.torch.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            {"rnri": json.dumps(header)},
        )
        _write(Path(path), data)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Inversion:
        """Read a file that :meth:`save` wrote; ``ValueError`` if it is damaged or something else."""
        try:
            with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
                header = json.loads((file.metadata() or {})["rnri"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if header["format"] != FORMAT:
                raise RnriError(f"its format is {header['format']!r}, not {FORMAT!r}")
            return cls._assemble(header, tensors)
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
            raise RnriError(f"{os.fspath(path)} cannot be read ({reason}); invert the image again") from error

    @classmethod
    def _assemble(cls, header: dict[str, Any], tensors: dict[str, Tensor]) -> Inversion:
        schedule: list[Step] = []
        solutions: list[Solution] = []
        for k, numbers in enumerate(header["steps"]):
            counts = {name: numbers.pop(name) for name in ("nfe", "njvp", "nvjp")}
            for name in ("levels", "effective", "dense"):
                numbers[name] = tuple(numbers[name])
            schedule.append(Step(c=tensors.get(f"{k}.c"), **numbers))
            solutions.append(
                Solution(
                    z=tensors[f"{k}.latents"],
                    residual=tensors[f"{k}.residual"],
                    residuals=tensors[f"{k}.residuals"],
                    codes=tensors[f"{k}.codes"],
                    **counts,
                )
            )
        corrected = "0.correction" in tensors
        return cls(
            schedule=tuple(schedule),
            latents=tuple(tensors[f"{k}.latents"] for k in range(len(schedule) + 1)),
            solutions=tuple(solutions),
            corrections=tuple(tensors[f"{k}.correction"] for k in range(len(schedule))) if corrected else None,
            prompt=header["prompt"],
            model=header["model"],
            size=None if header["size"] is None else tuple(header["size"]),
            guidance=header["guidance"],
            seed=header["seed"],
        )


def invert(
    m: Denoiser,
    schedule: Schedule,
    z_clean: Tensor,
    solver: Solver,
    *,
    budget: int | Sequence[int] = 5,
    tol: float | None = None,
    start: Literal["clean", "noised"] = "clean",
    predictor: bool = False,
    correct: bool = False,
    seed: int = 0,
) -> Inversion:
    """Latents that ``schedule`` samples back to ``z_clean`` (B, …), found step by step from the image outwards.

    ``budget`` is the number of iterations per step, or a plan from the image outwards whose last entry repeats:
    ``(5, 1)`` spends five on the step next to the image and one on each other; :func:`rnri.allot` makes a plan of a
    number of network calls. ``tol`` stops an image earlier.

    The first guess of a step is its clean end. With ``predictor`` it is undo(z_clean, output of the step before), for
    which the output implied by that step's answer is used: no extra call. With ``start="noised"`` the step next to
    the image starts in distribution, at a draw from q(z | z_clean) made with ``seed``, the same for every image.

    ``correct`` keeps latents[k+1] − denoise(latents[k]) for each step, one more call each; sampling with these
    corrections gives ``z_clean`` back to rounding error whatever the solver did.

    >>> from rnri import SOLVERS
    >>> from rnri_core.sampling import steps as schedule
    >>> steps = schedule.flow([1.0, 0.5, 0.0], [1000, 500])
    >>> m = lambda z, t: 0.1 * z
    >>> inversion = invert(m, steps, torch.ones(1, 4), SOLVERS["fixed-point"](), budget=9)
    >>> torch.allclose(sample(m, steps, inversion.noise), torch.ones(1, 4))
    True
    """
    plan = _plan(budget, len(schedule))
    if start not in ("clean", "noised"):
        raise RnriError(f"start={start!r} is not one of clean, noised", field="start")
    z = image = at_least_float32(z_clean.detach())
    latents, solutions, corrections = [image], [], []
    output: Tensor | None = None
    for step, max_iter in zip(reversed(schedule), plan, strict=True):
        guess = z
        if output is not None and predictor:
            guess = step.undo(z, output)
        elif output is None and start == "noised":
            guess = _noised(step, z, seed)
        solution = solve(step.equation(m, z, image), guess, solver, max_iter=max_iter, tol=tol)
        if correct:
            corrections.append(z - step.denoise(m, solution.z))
        output = step.output(solution.z, z)
        z = solution.z
        latents.append(z)
        solutions.append(solution)
    return Inversion(
        schedule,
        tuple(reversed(latents)),
        tuple(reversed(solutions)),
        tuple(reversed(corrections)) if correct else None,
        seed=seed,
    )


def sample(
    m: Denoiser,
    schedule: Schedule,
    z: Tensor,
    *,
    corrections: Sequence[Tensor] | None = None,
    blend: Callable[[int, Tensor], Tensor] | None = None,
) -> Tensor:
    """Run ``schedule`` from the noise ``z`` (B, …) to the image's latents, one call per step.

    ``corrections[k]`` is added after step k; then ``blend(k, z)`` may replace the result.
    """
    z = at_least_float32(z)
    for k, step in enumerate(schedule):
        z = step.denoise(m, z)
        if corrections is not None:
            z = z + corrections[k].to(z)
        if blend is not None:
            z = blend(k, z)
    return z


def _plan(budget: int | Sequence[int], steps: int) -> list[int]:
    """Iterations of each step from the image outwards."""
    given = [budget] if isinstance(budget, int) else list(budget)
    if not given or min(given) < 1:
        raise RnriError(
            f"budget={budget!r} leaves a step without iterations; give a number, or several, each ≥ 1", field="budget"
        )
    return (given + given[-1:] * steps)[:steps]


def _noised(step: Step, z_clean: Tensor, seed: int) -> Tensor:
    """A draw from q(z | z_clean), the same noise for every image."""
    noise = torch.randn(z_clean.shape[1:], generator=torch.Generator().manual_seed(seed))
    return renoised(z_clean, step.levels[2:], step.levels[:2], noise)


def _write(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
