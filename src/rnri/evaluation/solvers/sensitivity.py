"""What inversion does when something is not as it should be, and whether what it says of that is true.

Each condition spoils one thing, the rest stays as it is:

    as is          the picture's own prompt
    prompt wrong   the prompt of another picture
    prompt empty   no prompt
    guidance       inverted with guidance 2, which makes every step's equation steeper
    bfloat16       the network in half the bits; solving stays in float32
    photo          a photograph instead of a scene, under a scene's prompt

Presets are measured without their corrections, which would hide what the solver makes of it: with them every picture
comes back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal, get_args

import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.implicit import Implicit
from rnri_core.inversion.inversion import Inversion, sample
from rnri_core.inversion.presets import inverter
from rnri_core.sampling.steps import Denoiser
from rnri_core.solvers.solve import Status
from torch import Tensor

from rnri import images
from rnri.editing.edit import bound
from rnri.evaluation.records import Line
from rnri.evaluation.solvers.convergence import Convergence
from rnri.metrics import psnr
from rnri.models import Model

Condition = Literal["as is", "prompt wrong", "prompt empty", "guidance", "bfloat16", "photo"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
"""Photographs that come with scikit-image."""
GUIDANCE = 2.0
ELSEWHERE = 7
"""The wrong prompt is that of the picture so many further on."""


@dataclass(frozen=True)
class SensitivityConfiguration:
    """``solver`` is a preset or a spec, with as many iterations as that gets; ``tol`` is what converged means.

    A preset keeps its start, predictor and budget, but no corrections.
    """

    model: str
    fingerprint: str
    steps: int
    solver: str
    condition: Condition
    tol: float
    seed: int


@dataclass(frozen=True)
class Reaction:
    """What came of one picture. Lists have one entry per step, noisy to clean.

    ``claimed`` are the residuals that the solutions state, ``residual`` those of the latents found, measured
    afterwards by one more call each. ``latent_rmse`` and ``psnr_db`` are of sampling the noise again, without
    corrections; ``bound_db`` is what the autoencoder alone reaches. ``truthful``: every status is what it says it is.
    """

    status: list[str]
    claimed: list[float]
    residual: list[float]
    calls: int
    latent_rmse: float
    psnr_db: float
    bound_db: float
    noise_length: float
    finite: bool
    truthful: bool


class Sensitivity:
    """Measures configurations on the first pictures of the held-out split; for :func:`rnri.evaluation.records.run`.

    ``coarse`` are the same models in bfloat16, for the condition of that name.
    """

    def __init__(self, cases: Convergence, coarse: Mapping[str, Model]) -> None:
        self.cases = cases
        self.coarse = coarse

    def __call__(self, configuration: SensitivityConfiguration, pictures: Sequence[int]) -> list[Reaction]:
        """One measurement per picture."""
        return [self._one(configuration, index) for index in pictures]

    def _one(self, configuration: SensitivityConfiguration, index: int) -> Reaction:
        condition = configuration.condition
        model = (self.coarse if condition == "bfloat16" else self.cases.models)[configuration.model]
        picture, prompt = self._subject(model, configuration.model, condition, index)
        latents = model.encode(picture)
        schedule = model.schedule(
            configuration.steps, generator=torch.Generator().manual_seed(configuration.seed + index)
        )
        m = bound(model, [prompt], GUIDANCE if condition == "guidance" else None)
        how = inverter(configuration.solver, schedule, noise_maps=False)
        assert isinstance(how, Implicit)
        how = replace(how, tol=configuration.tol)
        found = how.invert(m, schedule, latents, seed=configuration.seed)
        again = sample(m, schedule, found.noise)
        residual = _residuals(m, found)
        claimed = [float(each) for each in found.residual.flatten()]
        statuses = [solution.status[0] for solution in found.solutions]
        finite = bool(again.isfinite().all()) and all(bool(each.isfinite().all()) for each in found.latents)
        return Reaction(
            status=[status.name for status in statuses],
            claimed=claimed,
            residual=residual,
            calls=found.calls,
            latent_rmse=(again - latents).square().mean().sqrt().item(),
            psnr_db=psnr(model.decode(again).cpu(), picture).item(),
            bound_db=psnr(model.decode(latents).cpu(), picture).item(),
            noise_length=found.noise.square().mean().sqrt().item() / math.hypot(*schedule[0].levels[:2]),
            finite=finite,
            truthful=all(map(truthful, statuses, claimed, residual, [configuration.tol] * len(statuses))),
        )

    def _subject(self, model: Model, name: str, condition: Condition, index: int) -> tuple[Tensor, str]:
        """The picture to invert, (1, 3, H, W), and what is said of it."""
        if condition == "photo":
            picture = images.read(photo(PHOTOS[index % len(PHOTOS)]))
            return images.resize(picture, model.image_size), self._edit(index)
        if condition == "prompt wrong":
            return self.cases.case(name, "heldout", index).source, self._edit(index + ELSEWHERE)
        prompt = "" if condition == "prompt empty" else self._edit(index)
        return self.cases.case(name, "heldout", index).source, prompt

    def _edit(self, index: int) -> str:
        edits = self.cases.edits("heldout")
        return edits[index % len(edits)].source_prompt


def photo(name: str) -> images.ImageLike:
    """A photograph of scikit-image's; ``ValueError`` where that is not installed."""
    try:
        from skimage import data
    except ModuleNotFoundError:
        raise RnriError(
            "photographs come with scikit-image", hint="install rnri[bench], or leave out 'photo'"
        ) from None
    found: images.ImageLike = getattr(data, name)()
    return found


def truthful(status: Status, claimed: float, residual: float, tol: float) -> bool:
    """Whether a status holds for an answer of this residual, of which ``claimed`` was stated.

    Converged: the answer itself is within ``tol`` and has the residual claimed, to rounding. Not converged: what was
    claimed is above ``tol``. Diverged: the answer, the best point seen, has the residual claimed, or none is finite.

    >>> truthful(Status.CONVERGED, 0.009, 0.009, 0.01), truthful(Status.CONVERGED, 0.009, 0.5, 0.01)
    (True, False)
    """
    same = math.isclose(claimed, residual, rel_tol=0.05, abs_tol=1e-5)
    if status is Status.CONVERGED:
        return claimed <= tol and same
    if status is Status.DIVERGED:
        return same or not math.isfinite(claimed)
    return claimed > tol and math.isfinite(residual)


def summary(lines: Iterable[Line]) -> list[tuple[str, ...]]:
    """A row for each model, solver and condition, under :data:`HEADS`."""
    found: dict[tuple[str, ...], list[Mapping[str, object]]] = {}
    for line in lines:
        said = line.configuration
        key = (str(said["model"]), str(said["steps"]), str(said["solver"]), str(said["condition"]))
        found.setdefault(key, []).append(line.measurement)
    return [(*key, *_row(measured)) for key, measured in sorted(found.items(), key=lambda pair: _place(pair[0]))]


HEADS = (
    *("model", "steps", "solver", "condition", "pictures", "finite %", "truthful %", "converged %", "diverged %"),
    *("worst residual", "latent error", "PSNR dB", "bound dB", "noise length"),
)


def _place(key: tuple[str, ...]) -> tuple[object, ...]:
    return (*key[:3], CONDITIONS.index(key[3]))


def _row(measured: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    statuses = [name for each in measured for name in each["status"]]  # type: ignore[attr-defined]
    worst = [max(_number(value) for value in each["residual"]) for each in measured]  # type: ignore[attr-defined]
    return (
        str(len(measured)),
        *(f"{100 * fmean(bool(each[name]) for each in measured):.0f}" for name in ("finite", "truthful")),
        *(f"{100 * statuses.count(name) / len(statuses):.0f}" for name in ("CONVERGED", "DIVERGED")),
        f"{max(worst):.3g}",
        *(f"{fmean(_number(each[name]) for each in measured):.3g}" for name in ("latent_rmse", "psnr_db", "bound_db")),
        f"{fmean(_number(each['noise_length']) for each in measured):.3f}",
    )


def _number(value: object) -> float:
    """What was not finite is ``None`` in a file, and counts as infinite."""
    return value if isinstance(value, float) else math.inf


def _residuals(m: Denoiser, found: Inversion) -> list[float]:
    pairs = zip(found.schedule, found.latents, found.latents[1:], strict=False)
    return [step.residual(m, z, clean).item() for step, z, clean in pairs]
