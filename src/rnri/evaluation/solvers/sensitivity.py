"""Inversion under conditions that it is not made for, and whether its statuses are true.

Each condition changes one thing:

    as is          the picture's own prompt
    prompt wrong   the prompt of another picture
    prompt empty   no prompt
    guidance       inverted with guidance 2, which makes every step's equation steeper
    bfloat16       the network in half the bits; solving stays in float32
    photo          a photograph instead of a scene, under a scene's prompt

Presets are measured without noise maps, with which every picture is reconstructed whatever was solved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal, get_args

import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.implicit import Implicit
from rnri_core.inversion.inversion import sample
from rnri_core.solvers.solve import Status
from torch import Tensor

from rnri import images
from rnri.editing.edit import bound
from rnri.evaluation.records import Line, Records
from rnri.evaluation.solvers.convergence import Convergence, residuals
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
class SensitivitySetting:
    """``solver`` is a preset or a spec, with its own number of iterations; ``tol`` is the residual of convergence.

    A preset keeps its initial guess and its iterations, but stores no noise maps.
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

    Attributes:
        status: names of :class:`rnri.Status`.
        claimed: residuals that the solutions state.
        residual: of the final latents, measured afterwards by one more call each.
        calls: of the inversion.
        latent_rmse, psnr_db: of sampling the noise again, without noise maps.
        bound_db: PSNR that the autoencoder alone reaches.
        noise_length: ‖z‖/√D of the noise over its nominal deviation, 1 for white noise.
        finite: whether all latents are.
        truthful: whether :func:`truthful` holds for every step.
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


SensitivityLine = Line[SensitivitySetting, Reaction]
SENSITIVITY = Records("sensitivity.jsonl", SensitivitySetting, Reaction)


class Sensitivity:
    """Measures settings on the first pictures of the held-out split, for :meth:`Records.extend`.

    ``coarse`` are the same models in bfloat16, for the condition of that name.
    """

    def __init__(self, cases: Convergence, coarse: Mapping[str, Model]) -> None:
        self.cases = cases
        self.coarse = coarse

    def __call__(self, setting: SensitivitySetting, pictures: Sequence[int]) -> list[Reaction]:
        """One measurement per picture."""
        return [self._one(setting, index) for index in pictures]

    def _one(self, setting: SensitivitySetting, index: int) -> Reaction:
        condition = setting.condition
        model = (self.coarse if condition == "bfloat16" else self.cases.models)[setting.model]
        picture, prompt = self._subject(model, setting.model, condition, index)
        latents = model.encode(picture)
        schedule = model.schedule(setting.steps, generator=torch.Generator().manual_seed(setting.seed + index))
        m = bound(model, [prompt], GUIDANCE if condition == "guidance" else None)
        implicit = InversionConfig(inverter=setting.solver, noise_maps=False).inverter_for(schedule)
        assert isinstance(implicit, Implicit)
        inversion = replace(implicit, tol=setting.tol).invert(m, schedule, latents, seed=setting.seed)
        again = sample(m, schedule, inversion.noise)
        residual, claimed = residuals(m, inversion)[:, 0].tolist(), inversion.residual[:, 0].tolist()
        statuses = [solution.status[0] for solution in inversion.solutions]
        return Reaction(
            status=[status.name for status in statuses],
            claimed=claimed,
            residual=residual,
            calls=inversion.calls,
            latent_rmse=(again - latents).square().mean().sqrt().item(),
            psnr_db=psnr(model.decode(again).cpu(), picture).item(),
            bound_db=psnr(model.decode(latents).cpu(), picture).item(),
            noise_length=inversion.noise.square().mean().sqrt().item() / math.hypot(*schedule[0].levels[:2]),
            finite=all(bool(each.isfinite().all()) for each in (again, *inversion.latents)),
            truthful=all(map(truthful, statuses, claimed, residual, [setting.tol] * len(statuses))),
        )

    def _subject(self, model: Model, name: str, condition: Condition, index: int) -> tuple[Tensor, str]:
        """The picture to invert, (1, 3, H, W), and its prompt."""
        if condition == "photo":
            picture = images.read(photo(PHOTOS[index % len(PHOTOS)]))
            return images.resize(picture, model.image_size), self._prompt(index)
        if condition == "prompt wrong":
            return self.cases.case(name, "heldout", index).source, self._prompt(index + ELSEWHERE)
        prompt = "" if condition == "prompt empty" else self._prompt(index)
        return self.cases.case(name, "heldout", index).source, prompt

    def _prompt(self, index: int) -> str:
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
    picture: images.ImageLike = getattr(data, name)()
    return picture


def truthful(status: Status, claimed: float, residual: float, tol: float) -> bool:
    """Whether a status holds for a solution of this residual that stated ``claimed``.

    Converged: the solution is within ``tol`` and has the residual claimed, to rounding. Not converged: the residual
    claimed is above ``tol``. Diverged: the solution, the best point seen, has the residual claimed, or none is finite.

    >>> truthful(Status.CONVERGED, 0.009, 0.009, 0.01), truthful(Status.CONVERGED, 0.009, 0.5, 0.01)
    (True, False)
    """
    same = math.isclose(claimed, residual, rel_tol=0.05, abs_tol=1e-5)
    if status is Status.CONVERGED:
        return claimed <= tol and same
    if status is Status.DIVERGED:
        return same or not math.isfinite(claimed)
    return claimed > tol and math.isfinite(residual)


def summary(lines: Iterable[SensitivityLine]) -> list[tuple[str, ...]]:
    """A row for each model, number of steps, solver and condition, under :data:`HEADS`."""
    groups: dict[tuple[str, str, str, Condition], list[Reaction]] = {}
    for line in lines:
        setting = line.configuration
        key = (setting.model, str(setting.steps), setting.solver, setting.condition)
        groups.setdefault(key, []).append(line.measurement)
    order = sorted(groups, key=lambda key: (*key[:3], CONDITIONS.index(key[3])))
    return [(*key, *_row(groups[key])) for key in order]


HEADS = (
    *("model", "steps", "solver", "condition", "pictures", "finite %", "truthful %", "converged %", "diverged %"),
    *("worst residual", "latent error", "PSNR dB", "bound dB", "noise length"),
)


def _row(measured: Sequence[Reaction]) -> tuple[str, ...]:
    statuses = [name for each in measured for name in each.status]
    return (
        str(len(measured)),
        f"{100 * fmean(each.finite for each in measured):.0f}",
        f"{100 * fmean(each.truthful for each in measured):.0f}",
        *(f"{100 * statuses.count(name) / len(statuses):.0f}" for name in ("CONVERGED", "DIVERGED")),
        f"{max(max(each.residual) for each in measured):.3g}",
        f"{fmean(each.latent_rmse for each in measured):.3g}",
        f"{fmean(each.psnr_db for each in measured):.3g}",
        f"{fmean(each.bound_db for each in measured):.3g}",
        f"{fmean(each.noise_length for each in measured):.3f}",
    )
