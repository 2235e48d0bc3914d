"""How well a solver inverts at a given number of network calls, in two measures.

    fidelity      distance of sampling the noise again, with the same prompt, to the picture
    editability   distance of sampling it with the target's prompt to the true picture of the edited scene

Picture ``i`` is the source of the ``i``-th edit of a split (:func:`rnri.scenes.splits.split_edits`), so both are
measured on one inversion. Settings are chosen on the ``tuning`` split, and ``heldout`` is reported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from rnri_core.controls.sampling import default_controls
from rnri_core.errors import RnriError
from rnri_core.inversion.budget import Spread, allot
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.coupled import PairInversion
from rnri_core.inversion.implicit import Implicit, Init
from rnri_core.inversion.inversion import Inversion
from rnri_core.inversion.presets import INVERTERS, PRESETS, AnyInverter, check
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers import OURS
from rnri_core.solvers import solver as find_solver
from rnri_core.solvers.equation import norm
from torch import Tensor

from rnri import images
from rnri.editing.edit import bound, resample
from rnri.evaluation.records import Line, Records
from rnri.evaluation.solvers.cost import InversionCost, measured
from rnri.metrics import psnr
from rnri.models import Model
from rnri.scenes.edits import Edit
from rnri.scenes.splits import Split, split_edits

Origin = Literal["ours", "published", "borrowed"]
"""Ours in solver or preset, published as it is measured, or a published solver in our ways."""


@dataclass(frozen=True)
class Way:
    """The surroundings of a solver: how calls are spread over the steps, and the initial guess of each step."""

    spread: Spread
    init: Init


WAYS: dict[str, Way] = {
    "published": Way("even", "clean"),
    "informed": Way("spectrum", "predicted"),
    "noised": Way("spectrum", "noised-predicted"),
}
"""As published; by the schedule's spectrum and the step before; the same from a start in distribution."""

CALLS = {"edit-friendly": 1, "edict": 2, "bdia": 1}
"""Network evaluations a step of the inverters that solve no equation."""


@dataclass(frozen=True)
class SolverSetting:
    """One configuration of the benchmark.

    Attributes:
        model, fingerprint: name or folder of the model, and its weights.
        steps: of the schedule.
        calls: the most network evaluations of an inversion, those of noise maps included.
        solver: a spec, a preset, or a name in :data:`INVERTERS`.
        way: a name in :data:`WAYS`; ``preset`` for presets, which have a way of their own.
        correct: whether noise maps are stored, one call a step; presets decide it themselves.
        guidance: of the edit; the inversion has none.
        split, seed: whose pictures, and the seed of all noise.
    """

    model: str
    fingerprint: str
    steps: int
    calls: int
    solver: str
    way: str
    correct: bool
    guidance: float
    split: Split
    seed: int

    @property
    def method(self) -> str:
        """Name in tables: the solver, and whatever is not as published, such as ``chebyshev, informed, corrected``."""
        way = [] if self.way in ("published", "preset") else [self.way]
        return ", ".join([self.solver, *way, *["corrected"] * self.correct])

    @property
    def origin(self) -> Origin:
        """Whose method it is."""
        if self.way == "preset" or re.split("[:+]", self.solver)[0] in OURS:
            return "ours"
        return "published" if self.way == "published" and not self.correct else "borrowed"

    @property
    def exact(self) -> bool:
        """Whether it reconstructs the picture whatever was solved: by noise maps, or by algebra."""
        name = self.solver
        return bool(self.correct or name in INVERTERS or (name in PRESETS and PRESETS[name].noise_maps))


@dataclass(frozen=True)
class InversionMeasurement:
    """What came of one picture. Lists have one entry per step, noisy to clean.

    Attributes:
        kind, local: of the edit.
        plan: iterations.
        cost: network evaluations and seconds.
        status: names of :class:`rnri.Status`.
        residuals: ‖z_clean − denoise(z)‖ / ‖z_clean‖ of the points evaluated.
        residual: the same of the final latents, measured afterwards by calls that are not counted; of a sampler on
            pairs of latents one entry for the whole trajectory.
        latent_rmse: root mean square error over latent elements after sampling back.
        psnr_db, bound_db: PSNR of that picture in dB, and what the autoencoder alone reaches.
        noise_length, noise_kurtosis, noise_correlation: ‖z‖/√D, excess kurtosis and correlation of neighbours of the
            noise over its nominal deviation; 1, 0 and 0 for white noise.
        edit_rmse, edit_psnr_db: distance of the edit to the encoded true target, and to the true picture.
        unedited_rmse, unedited_psnr_db: distance of the source to them.
    """

    kind: str
    local: bool
    plan: list[int]
    cost: InversionCost
    status: list[str]
    residuals: list[list[float]]
    residual: list[float]
    latent_rmse: float
    psnr_db: float
    bound_db: float
    noise_length: float
    noise_kurtosis: float
    noise_correlation: float
    edit_rmse: float
    edit_psnr_db: float
    unedited_rmse: float
    unedited_psnr_db: float


ConvergenceLine = Line[SolverSetting, InversionMeasurement]
CONVERGENCE = Records("convergence.jsonl", SolverSetting, InversionMeasurement)


def grid(
    models: Mapping[str, Model],
    *,
    steps: Sequence[int],
    budgets: Sequence[float],
    solvers: Sequence[str],
    ways: Sequence[str],
    correct: bool = False,
    guidances: Sequence[float] = (),
    tuned: Callable[[SolverSetting], float | None] | None = None,
    split: Split = "heldout",
    seed: int = 0,
) -> list[SolverSetting]:
    """All combinations of these values.

    Args:
        models: by name.
        steps: of the schedules.
        budgets: mean numbers of calls per step.
        solvers: specs, presets and names of :data:`INVERTERS`. A preset comes once for each budget; an inverter once
            for each number of steps, as it has no use for more calls.
        ways: names of :data:`WAYS`.
        correct: store noise maps with every solver.
        guidances: of edits; the model's own where there are none.
        tuned: the guidance that a method has instead, if any.
        split, seed: of every setting.

    Raises:
        RnriError: for an unknown solver or way.
    """
    for spec in solvers:
        if spec not in INVERTERS:
            check(spec)
    for name in ways:
        if name not in WAYS:
            raise RnriError(f"scheme {name!r} is not known", hint=f"use {', '.join(WAYS)}", field="schemes")
    settings = [
        SolverSetting(
            model=name,
            fingerprint=model.fingerprint,
            steps=count,
            calls=count * CALLS[solver] if solver in INVERTERS else round(count * budget),
            solver=solver,
            way="preset" if solver in PRESETS else "published" if solver in INVERTERS else way,
            correct=correct and solver not in INVERTERS and solver not in PRESETS,
            guidance=guidance,
            split=split,
            seed=seed,
        )
        for name, model in models.items()
        for count in steps
        for budget in budgets
        for solver in solvers
        for way in ways
        for guidance in guidances or (model.defaults.edit_guidance,)
    ]
    own = [tuned(each) if tuned else None for each in settings]
    chosen = (each if best is None else replace(each, guidance=best) for each, best in zip(settings, own, strict=True))
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True, eq=False)
class Case:
    """The pictures before and after an edit, (1, 3, H, W), and their latents, (1, C, h, w)."""

    edit: Edit
    source: Tensor
    target: Tensor
    latents: Tensor
    target_latents: Tensor


class Convergence:
    """Measures settings on the first ``limit`` pictures of a split, for :meth:`Records.extend`."""

    def __init__(self, models: Mapping[str, Model], limit: int) -> None:
        self.models = models
        self.edits = lru_cache(lambda split: split_edits(split, limit))
        self.case = lru_cache(maxsize=256)(self._case)
        self.inverter = lru_cache(maxsize=4096)(self._inverter)
        self._warm: set[tuple[str, int]] = set()

    def schedule(self, setting: SolverSetting) -> Schedule:
        """The steps that are inverted."""
        generator = torch.Generator().manual_seed(setting.seed)
        return self.models[setting.model].schedule(setting.steps, generator=generator)

    def affordable(self, setting: SolverSetting) -> bool:
        """Whether its calls buy an iteration for every step."""
        try:
            self.inverter(setting)
        except ValueError:
            return False
        return True

    def __call__(self, setting: SolverSetting, indices: Sequence[int]) -> list[InversionMeasurement]:
        """One measurement per picture, from one inversion of them all at once."""
        model, schedule = self.models[setting.model], self.schedule(setting)
        cases = [self.case(setting.model, setting.split, index) for index in indices]
        latents = torch.cat([case.latents for case in cases])
        m = model.denoiser(model.embed([case.edit.source_prompt for case in cases]))
        if (setting.model, len(cases)) not in self._warm:
            schedule[-1].denoise(m, latents)
            self._warm.add((setting.model, len(cases)))
        inverter = self.inverter(setting)
        inversion, cost = measured(lambda m: inverter.invert(m, schedule, latents, seed=setting.seed), m, latents)
        again, edited = inversion.sample(m), self._edited(inversion, setting, cases)
        solutions = inversion.solutions if isinstance(inversion, Inversion) else ()
        if isinstance(inversion, Inversion):
            residual = residuals(m, inversion)
        else:
            residual = (norm(again - latents) / norm(latents)).flatten()[None]
        plan = inverter.plan(len(schedule)) if isinstance(inverter, Implicit) else [1] * len(schedule)
        noises = inversion.noise / math.hypot(*schedule[0].levels[:2])
        sources, targets = torch.cat([case.source for case in cases]), torch.cat([case.target for case in cases])
        fidelity, bounds = _decibels(model, again, sources), _decibels(model, latents, sources)
        reached, unedited = _decibels(model, edited, targets), psnr(sources, targets).tolist()
        return [
            InversionMeasurement(
                kind=case.edit.kind,
                local=case.edit.local,
                plan=plan[::-1],
                cost=cost,
                status=[each.status[k].name for each in solutions],
                residuals=[each.residuals[:, k].tolist() for each in solutions],
                residual=residual[:, k].tolist(),
                latent_rmse=_rmse(again[k], case.latents[0]),
                psnr_db=fidelity[k],
                bound_db=bounds[k],
                noise_length=noises[k].square().mean().sqrt().item(),
                noise_kurtosis=kurtosis(noises[k]),
                noise_correlation=correlation(noises[k]),
                edit_rmse=_rmse(edited[k], case.target_latents[0]),
                edit_psnr_db=reached[k],
                unedited_rmse=_rmse(case.latents[0], case.target_latents[0]),
                unedited_psnr_db=unedited[k],
            )
            for k, case in enumerate(cases)
        ]

    def _inverter(self, setting: SolverSetting) -> AnyInverter:
        """The inverter of a setting; ``RnriError`` where the calls do not buy an iteration for each step."""
        schedule, name = self.schedule(setting), setting.solver
        config = InversionConfig(inverter=name, steps=setting.steps, seed=setting.seed)
        if name in PRESETS:
            config = replace(config, calls=setting.calls)
        elif name not in INVERTERS:
            way, calls = WAYS[setting.way], setting.calls - len(schedule) * setting.correct
            iterations = allot(schedule, calls, find_solver(name), spread=way.spread)
            config = replace(config, iterations=iterations, init=way.init, noise_maps=setting.correct)
        return config.inverter_for(schedule)

    def _case(self, name: str, split: Split, index: int) -> Case:
        model, edit = self.models[name], self.edits(split)[index]
        pictures = edit.images(model.image_size[0])
        source, target = images.read(pictures.source), images.read(pictures.target)
        return Case(edit, source, target, model.encode(source), model.encode(target))

    def _edited(self, source: Inversion | PairInversion, setting: SolverSetting, cases: Sequence[Case]) -> Tensor:
        """Latents of the edits: as ``Editor.edit`` makes them after a solver or preset, else without any control."""
        model, prompts = self.models[setting.model], [case.edit.target_prompt for case in cases]
        if isinstance(source, Inversion) and setting.solver not in INVERTERS:
            controls = default_controls(source)
            return resample(model, source, prompts, guidance=setting.guidance, controls=controls).latents
        return source.sample(bound(model, prompts, setting.guidance))


def kurtosis(noise: Tensor) -> float:
    """Excess kurtosis of the elements, mean((x − μ)⁴)/mean((x − μ)²)² − 3: 0 for Gaussian ones.

    >>> kurtosis(torch.tensor([1.0, -1.0]))
    -2.0
    """
    square = (noise.double() - noise.double().mean()).square()
    return (square.square().mean() / square.mean() ** 2 - 3).item()


def correlation(noise: Tensor) -> float:
    """Mean product of neighbours in a row and in a column of (C, h, w), over the mean square: 0 for white noise.

    >>> correlation(torch.ones(1, 4, 4))
    1.0
    """
    x = noise.double()
    products = ((x[..., 1:] * x[..., :-1]).mean(), (x[..., 1:, :] * x[..., :-1, :]).mean())
    return (sum(products) / 2 / x.square().mean()).item()


def residuals(m: Denoiser, inversion: Inversion) -> Tensor:
    """‖z_clean − denoise(z)‖ / ‖z_clean‖ of each step's latents, (K, B); a call per step."""
    triples = zip(inversion.schedule, inversion.latents, inversion.latents[1:], strict=False)
    return torch.stack([step.residual(m, z, clean) for step, z, clean in triples])


def _rmse(one: Tensor, other: Tensor) -> float:
    return (one - other).square().mean().sqrt().item()


def _decibels(model: Model, latents: Tensor, pictures: Tensor) -> list[float]:
    return psnr(model.decode(latents).cpu(), pictures).tolist()
