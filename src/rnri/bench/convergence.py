"""How well a solver inverts at a given number of network calls, by two rulers.

    fidelity      how near sampling the noise again, with the same prompt, comes to the picture
    editability   how near sampling it with the target's prompt comes to the true picture of the edited scene

Picture ``i`` is the source of the ``i``-th edit of a split (:func:`rnri.scenes.splits.split_edits`), so both are
measured on one inversion. What is chosen by measurement is chosen on the ``tuning`` split, what is reported is
measured on ``heldout``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from rnri import images
from rnri.budget import Spread, allot
from rnri.edit_friendly import edit_friendly
from rnri.guidance import guided_pair
from rnri.inversion import Inversion, invert, sample
from rnri.metrics import psnr
from rnri.models import Model
from rnri.scenes.edits import Edit
from rnri.scenes.splits import Split, split_edits
from rnri.schedule import Denoiser, Schedule
from rnri.solvers import solver as find_solver


@dataclass(frozen=True)
class Way:
    """What surrounds a solver: how calls are spread over the steps, and where each step starts (``invert``)."""

    spread: Spread
    predictor: bool
    start: Literal["clean", "noised"]


WAYS: dict[str, Way] = {
    "published": Way("even", predictor=False, start="clean"),
    "informed": Way("spectrum", predictor=True, start="clean"),
    "noised": Way("spectrum", predictor=True, start="noised"),
}
"""As the papers have it; with what the schedule and the step before tell; the same from a start in distribution."""


INVERTERS: dict[str, Callable[..., Inversion]] = {"edit-friendly": edit_friendly}
"""What inverts without solving, beside the solvers; a call per step, and always with corrections."""


@dataclass(frozen=True)
class Configuration:
    """One setting: at most ``calls`` network calls for an inversion of ``steps`` steps, corrections included.

    ``solver`` is a spec or a name in :data:`INVERTERS`, ``way`` a name in :data:`WAYS`, ``model`` a name or folder and
    ``fingerprint`` its weights. ``correct`` keeps residual corrections, at a call per step. ``guidance`` is that of the
    edit; inversion has none.
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
    split: Split = "heldout",
    seed: int = 0,
) -> list[Configuration]:
    """All configurations of these; a budget is the mean number of calls per step. ``ValueError`` for unknown names.

    The guidance is the model's own unless given. An inverter comes once for each number of steps: nothing surrounds
    it, and it has no use for more calls.
    """
    for spec in solvers:
        if spec not in INVERTERS:
            find_solver(spec)
    for name in ways:
        if name not in WAYS:
            raise ValueError(f"way {name!r} is not known: use {', '.join(WAYS)}")
    return [
        Configuration(
            model=name,
            fingerprint=model.fingerprint,
            steps=count,
            calls=count if solver in INVERTERS else round(count * budget),
            solver=solver,
            way="published" if solver in INVERTERS else way,
            correct=correct and solver not in INVERTERS,
            guidance=guidance,
            split=split,
            seed=seed,
        )
        for name, model in models.items()
        for count in steps
        for budget in budgets
        for solver in solvers
        for way in ways
        for guidance in guidances or (model.defaults.guidance,)
        if solver not in INVERTERS or (way, budget) == (ways[0], budgets[0])
    ]


@dataclass(frozen=True)
class Cost:
    """What the inversion of one picture took.

    ``calls`` is nfe + 2·njvp + 2·nvjp. ``seconds`` are those of the whole ``batch`` divided by its size; ``overhead``
    is the share of them outside the network, where it can be told; ``memory_mb`` is the peak, of the device or else
    of the process.
    """

    nfe: int
    njvp: int
    nvjp: int
    calls: int
    batch: int
    seconds: float
    overhead: float | None
    memory_mb: float | None


@dataclass(frozen=True)
class Measurement:
    """What came of one picture. Lists have one entry per step, noisy to clean.

    ``residuals`` are those of the points evaluated, ``residual`` is that of the latents found, both
    ‖z_clean − denoise(z)‖ / ‖z_clean‖; measuring the latter is not counted. Errors are root mean squares over latent
    elements: ``latent_rmse`` after sampling back, ``edit_rmse`` to the encoded true target, ``unedited_rmse`` from
    the source to it. PSNR is in dB, against the true pictures; a bound is what the autoencoder alone reaches.
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


class Convergence:
    """Measures configurations on the first ``limit`` pictures of a split; for :func:`rnri.bench.run.run`."""

    def __init__(self, models: Mapping[str, Model], limit: int) -> None:
        self.models = models
        self.edits = lru_cache(lambda split: split_edits(split, limit))
        self.case = lru_cache(maxsize=256)(self._case)
        self.plan = lru_cache(maxsize=4096)(self._plan)
        self._warm: set[tuple[str, int]] = set()

    def schedule(self, configuration: Configuration) -> Schedule:
        """The steps that are inverted."""
        model, generator = self.models[configuration.model], torch.Generator().manual_seed(configuration.seed)
        return model.schedule(configuration.steps, generator=generator)

    def affordable(self, configuration: Configuration) -> bool:
        """Whether its calls buy an iteration for every step."""
        try:
            self.plan(configuration)
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
        plan = self.plan(configuration)
        found, cost = _invert(configuration, plan, m, schedule, latents)
        schedule = found.schedule
        pairs = zip(schedule, found.latents, found.latents[1:], strict=False)
        residual = torch.stack([step.residual(m, z, clean) for step, z, clean in pairs])
        again = sample(m, schedule, found.noise, corrections=found.corrections)
        edited = sample(self._editing(configuration, cases), schedule, found.noise, corrections=found.corrections)
        noises = found.noise / math.hypot(*schedule[0].levels[:2])
        sources, targets = torch.cat([case.source for case in cases]), torch.cat([case.target for case in cases])
        fidelity, bound = _decibels(model, again, sources), _decibels(model, latents, sources)
        reached, unedited = _decibels(model, edited, targets), psnr(sources, targets).tolist()
        return [
            Measurement(
                kind=case.edit.kind,
                local=case.edit.local,
                plan=plan[::-1],
                cost=cost,
                status=[solution.status[k].name for solution in found.solutions],
                residuals=[solution.residuals[:, k].tolist() for solution in found.solutions],
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

    def _plan(self, configuration: Configuration) -> list[int]:
        """Iterations of each step from the image outwards; ``ValueError`` if the calls do not buy one for each."""
        schedule = self.schedule(configuration)
        if configuration.solver in INVERTERS:
            return [1] * len(schedule)
        calls = configuration.calls - len(schedule) if configuration.correct else configuration.calls
        return allot(schedule, calls, find_solver(configuration.solver), spread=WAYS[configuration.way].spread)

    def _case(self, name: str, split: Split, index: int) -> Case:
        model, edit = self.models[name], self.edits(split)[index]
        pictures = edit.images(model.image_size[0])
        source, target = images.read(pictures.source), images.read(pictures.target)
        return Case(edit, source, target, model.encode(source), model.encode(target))

    def _editing(self, configuration: Configuration, cases: Sequence[Case]) -> Denoiser:
        model, prompts = self.models[configuration.model], [case.edit.target_prompt for case in cases]
        if configuration.guidance == 1:
            return model.denoiser(model.embed(prompts))
        return guided_pair(model.denoiser(model.embed([""] * len(prompts) + prompts)), configuration.guidance)


def _invert(
    configuration: Configuration, plan: list[int], m: Denoiser, schedule: Schedule, latents: Tensor
) -> tuple[Inversion, Cost]:
    """The inversion that is asked for, and what it took."""
    way, clock, device = WAYS[configuration.way], _Clock(m), latents.device
    inverter = INVERTERS.get(configuration.solver) or partial(
        invert,
        solver=find_solver(configuration.solver),
        budget=plan,
        start=way.start,
        predictor=way.predictor,
        correct=configuration.correct,
    )
    with _peak_memory(device) as memory:
        _wait(device)
        begin = time.perf_counter()
        found = inverter(clock, schedule, latents, seed=configuration.seed)
        _wait(device)
        seconds = time.perf_counter() - begin
    told = device.type == "cpu" and not found.njvp + found.nvjp
    cost = Cost(
        nfe=found.nfe,
        njvp=found.njvp,
        nvjp=found.nvjp,
        calls=found.calls,
        batch=len(latents),
        seconds=seconds / len(latents),
        overhead=1 - clock.seconds / seconds if told else None,
        memory_mb=memory[0] if memory else None,
    )
    return found, cost


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


class _Clock:
    """A denoiser that adds up the seconds spent in it; meaningful where calls end before they return."""

    def __init__(self, m: Denoiser) -> None:
        self.m, self.seconds = m, 0.0

    def __call__(self, z: Tensor, t: float) -> Tensor:
        begin = time.perf_counter()
        output = self.m(z, t)
        self.seconds += time.perf_counter() - begin
        return output


def _rmse(one: Tensor, other: Tensor) -> float:
    return (one - other).square().mean().sqrt().item()


def _decibels(model: Model, latents: Tensor, pictures: Tensor) -> list[float]:
    return psnr(model.decode(latents).cpu(), pictures).tolist()


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[float]]:
    """A list that gets the most memory in use during the block, in MB; it stays empty where that cannot be told."""
    peak: list[float] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.append(torch.cuda.max_memory_allocated(device) / 1e6)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    except OSError:
        yield peak
        return
    yield peak
    lines = Path("/proc/self/status").read_text().splitlines()
    peak += [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")]
