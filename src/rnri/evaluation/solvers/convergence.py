"""How well a solver inverts at a given number of network calls, by two rulers.

    fidelity      how near sampling the noise again, with the same prompt, comes to the picture
    editability   how near sampling it with the target's prompt comes to the true picture of the edited scene

Picture ``i`` is the source of the ``i``-th edit of a split (:func:`rnri.scenes.splits.split_edits`), so both are
measured on one inversion. What is chosen by measurement is chosen on the ``tuning`` split, what is reported is
measured on ``heldout``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial

import torch
from rnri_core.controls.sampling import default_controls
from rnri_core.errors import RnriError
from rnri_core.inversion.budget import Spread, allot
from rnri_core.inversion.coupled import PairInversion
from rnri_core.inversion.implicit import Implicit, Init
from rnri_core.inversion.inversion import Inversion
from rnri_core.inversion.presets import INVERTERS, PRESETS, AnyInverter, check, inverter
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers import solver as find_solver
from rnri_core.solvers.equation import norm
from torch import Tensor

from rnri import images
from rnri.editing.edit import bound, resample
from rnri.evaluation.solvers.cost import Cost, measured
from rnri.evaluation.solvers.settings import Own
from rnri.metrics import psnr
from rnri.models import Model
from rnri.scenes.edits import Edit
from rnri.scenes.splits import Split, split_edits


@dataclass(frozen=True)
class Way:
    """What surrounds a solver: how calls are spread over the steps, and where each step starts (``invert``)."""

    spread: Spread
    init: Init


WAYS: dict[str, Way] = {
    "published": Way("even", "clean"),
    "informed": Way("spectrum", "predicted"),
    "noised": Way("spectrum", "noised-predicted"),
}
"""As the papers have it; with what the schedule and the step before tell; the same from a start in distribution."""


CALLS = {"edit-friendly": 1, "edict": 2, "bdia": 1}
"""Network evaluations a step of the inverters that solve no equation."""


@dataclass(frozen=True)
class Configuration:
    """One setting: at most ``calls`` network calls for an inversion of ``steps`` steps, corrections included.

    ``solver`` is a spec, a preset, or a name in :data:`INVERTERS`, ``way`` a name in :data:`WAYS`, ``model`` a name or
    folder and ``fingerprint`` its weights. ``correct`` keeps residual corrections, at a call per step. A preset has a
    way of its own, ``preset``, and knows whether to correct. ``guidance`` is that of the edit; inversion has none.
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


def grid(
    models: Mapping[str, Model],
    *,
    steps: Sequence[int],
    budgets: Sequence[float],
    solvers: Sequence[str],
    ways: Sequence[str],
    correct: bool = False,
    guidances: Sequence[float] = (),
    own: Own | None = None,
    split: Split = "heldout",
    seed: int = 0,
) -> list[Configuration]:
    """All configurations of these; a budget is the mean number of calls per step. ``ValueError`` for unknown names.

    The guidance is a method's ``own`` where one is known, else one of those given, else the model's. A preset comes
    once for each budget, in no other way than its own; an inverter once for each number of steps, as it has no use for
    more calls either.
    """
    for spec in solvers:
        if spec not in INVERTERS:
            check(spec)
    for name in ways:
        if name not in WAYS:
            raise RnriError(f"way {name!r} is not known", hint=f"use {', '.join(WAYS)}")
    found = [
        Configuration(
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
        if solver not in INVERTERS or budget == budgets[0]
        if (solver not in INVERTERS and solver not in PRESETS) or way == ways[0]
    ]
    tuned = [own(asdict(each)) if own else None for each in found]
    chosen = (each if best is None else replace(each, guidance=best) for each, best in zip(found, tuned, strict=True))
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True)
class Measurement:
    """What came of one picture. Lists have one entry per step, noisy to clean.

    ``residuals`` are those of the points evaluated, ``residual`` is that of the latents found, both
    ‖z_clean − denoise(z)‖ / ‖z_clean‖; measuring the latter is not counted. Errors are root mean squares over latent
    elements: ``latent_rmse`` after sampling back, ``edit_rmse`` to the encoded true target, ``unedited_rmse`` from
    the source to it. A sampler on pairs of latents has no step to be residual of: it has an entry of the whole way.
    PSNR is in dB, against the true pictures; a bound is what the autoencoder alone reaches.
    The noise, divided by its nominal deviation, has a ``noise_length`` ‖z‖/√D, an excess ``noise_kurtosis`` and a
    ``noise_correlation`` of neighbours, for white noise 1, 0 and 0.
    """

    kind: str
    local: bool
    plan: list[int]
    cost: Cost
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


@dataclass(frozen=True, eq=False)
class Case:
    """The pictures before and after an edit, (1, 3, H, W), and their latents, (1, C, h, w)."""

    edit: Edit
    source: Tensor
    target: Tensor
    latents: Tensor
    target_latents: Tensor


Found = Inversion | PairInversion


class Convergence:
    """Measures configurations on the first ``limit`` pictures of a split; for :func:`rnri.evaluation.records.run`."""

    def __init__(self, models: Mapping[str, Model], limit: int) -> None:
        self.models = models
        self.edits = lru_cache(lambda split: split_edits(split, limit))
        self.case = lru_cache(maxsize=256)(self._case)
        self.inverter = lru_cache(maxsize=4096)(self._inverter)
        self._warm: set[tuple[str, int]] = set()

    def schedule(self, configuration: Configuration) -> Schedule:
        """The steps that are inverted."""
        model, generator = self.models[configuration.model], torch.Generator().manual_seed(configuration.seed)
        return model.schedule(configuration.steps, generator=generator)

    def affordable(self, configuration: Configuration) -> bool:
        """Whether its calls buy an iteration for every step."""
        try:
            self.inverter(configuration)
        except ValueError:
            return False
        return True

    def __call__(self, configuration: Configuration, indices: Sequence[int]) -> list[Measurement]:
        """One measurement per picture, from one inversion of them all at once."""
        model, schedule = self.models[configuration.model], self.schedule(configuration)
        cases = [self.case(configuration.model, configuration.split, index) for index in indices]
        latents = torch.cat([case.latents for case in cases])
        m = model.denoiser(model.embed([case.edit.source_prompt for case in cases]))
        if (configuration.model, len(cases)) not in self._warm:
            schedule[-1].denoise(m, latents)
            self._warm.add((configuration.model, len(cases)))
        how = self.inverter(configuration)
        found, cost = measured(partial(_inverted, how, schedule, latents, configuration.seed), m, latents)
        again = found.sample(m)
        edited = self._edited(found, configuration, cases)
        noises = found.noise / math.hypot(*schedule[0].levels[:2])
        residual = _residuals(m, found) if isinstance(found, Inversion) else torch.stack([_relative(again, latents)])
        solutions = found.solutions if isinstance(found, Inversion) else ()
        status = [solution.status for solution in solutions]
        history = [solution.residuals for solution in solutions]
        sources, targets = torch.cat([case.source for case in cases]), torch.cat([case.target for case in cases])
        fidelity, bound = _decibels(model, again, sources), _decibels(model, latents, sources)
        reached, unedited = _decibels(model, edited, targets), psnr(sources, targets).tolist()
        return [
            Measurement(
                kind=case.edit.kind,
                local=case.edit.local,
                plan=_iterations(how, len(schedule))[::-1],
                cost=cost,
                status=[each[k].name for each in status],
                residuals=[each[:, k].tolist() for each in history],
                residual=residual[:, k].tolist(),
                latent_rmse=_rmse(again[k], case.latents[0]),
                psnr_db=fidelity[k],
                bound_db=bound[k],
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

    def _inverter(self, configuration: Configuration) -> AnyInverter:
        """How it is inverted; ``RnriError`` if the calls do not buy an iteration for each step."""
        schedule, name = self.schedule(configuration), configuration.solver
        if name in PRESETS:
            return inverter(name, schedule, calls=configuration.calls)
        if name in INVERTERS:
            return inverter(name, schedule)
        way, method = WAYS[configuration.way], find_solver(name)
        calls = configuration.calls - len(schedule) if configuration.correct else configuration.calls
        iterations = allot(schedule, calls, method, spread=way.spread)
        return Implicit(method, iterations, None, way.init, configuration.correct)

    def _case(self, name: str, split: Split, index: int) -> Case:
        model, edit = self.models[name], self.edits(split)[index]
        pictures = edit.images(model.image_size[0])
        source, target = images.read(pictures.source), images.read(pictures.target)
        return Case(edit, source, target, model.encode(source), model.encode(target))

    def _edited(self, found: Found, configuration: Configuration, cases: Sequence[Case]) -> Tensor:
        """The edits' latents: of what was solved as `Editor.edit` makes them, of other inverters as they are."""
        model, prompts = self.models[configuration.model], [case.edit.target_prompt for case in cases]
        guidance = configuration.guidance
        if isinstance(found, Inversion) and configuration.solver not in INVERTERS:
            return resample(model, found, prompts, guidance=guidance, controls=default_controls(found)).latents
        return found.sample(bound(model, prompts, guidance))


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


def _inverted(how: AnyInverter, schedule: Schedule, latents: Tensor, seed: int, m: Denoiser) -> Found:
    return how.invert(m, schedule, latents, seed=seed)


def _residuals(m: Denoiser, found: Inversion) -> Tensor:
    """‖z_clean − denoise(z)‖ / ‖z_clean‖ of the latents found, (K, B); a call per step."""
    pairs = zip(found.schedule, found.latents, found.latents[1:], strict=False)
    return torch.stack([step.residual(m, z, clean) for step, z, clean in pairs])


def _iterations(how: AnyInverter, steps: int) -> list[int]:
    """Of each step, from the image outwards; one where no equation is solved."""
    return how.plan(steps) if isinstance(how, Implicit) else [1] * steps


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    return (norm(found - wanted) / norm(wanted)).flatten()


def _rmse(one: Tensor, other: Tensor) -> float:
    return (one - other).square().mean().sqrt().item()


def _decibels(model: Model, latents: Tensor, pictures: Tensor) -> list[float]:
    return psnr(model.decode(latents).cpu(), pictures).tolist()
