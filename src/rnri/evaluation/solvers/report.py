"""Lines of measurements to a page: tables in Markdown with medians, means and their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rnri_core.errors import RnriError
from rnri_core.inversion.presets import INVERTERS

from rnri.evaluation.records import Line
from rnri.evaluation.solvers import guidances
from rnri.evaluation.solvers.rivals import comparison
from rnri.evaluation.solvers.settings import grouped, looked_at
from rnri.evaluation.statistics import Estimate
from rnri.evaluation.tables import measured_on, number, ruled

TOLERANCE = 0.01
"""An inversion counts as converged when the residual of every step is at most this."""


@dataclass(frozen=True)
class Row:
    """One method in one setting, over ``pictures``; a measurement that was not finite counts as infinitely bad.

    ``spent`` are network evaluations and exact products, forwards and backwards.
    """

    method: str
    pictures: int
    calls: float
    spent: tuple[float, ...]
    error: Estimate
    psnr_db: Estimate
    bound_db: float
    residual: float
    converged: float
    diverged: float
    seconds: float
    memory_mb: float
    overhead: float
    edits: Estimate
    edits_local: Estimate
    edits_global: Estimate
    edits_psnr_db: float
    noise_length: float
    noise_kurtosis: float
    noise_correlation: float

    @classmethod
    def of(cls, method: str, lines: Sequence[Line]) -> Row:
        """Summarise the lines of one method in one setting."""
        measured = [line.measurement for line in lines]
        costs = [each["cost"] for each in measured]
        kinds = {local: [each for each in measured if each["local"] is local] for local in (True, False)}
        worst = [max(map(_error, each["residual"])) for each in measured]
        return cls(
            method=method,
            pictures=len({line.image for line in lines}),
            calls=_median(costs, "calls"),
            spent=tuple(_median(costs, name) for name in ("nfe", "njvp", "nvjp")),
            error=Estimate.of(_errors(measured, "latent_rmse")),
            psnr_db=Estimate.of(_known(measured, "psnr_db"), np.mean),
            bound_db=_mean(measured, "bound_db"),
            residual=float(np.median(worst)),
            converged=float(np.mean([value <= TOLERANCE for value in worst])),
            diverged=float(np.mean(["DIVERGED" in each["status"] for each in measured])),
            seconds=_median(costs, "seconds"),
            memory_mb=_median(costs, "memory_mb"),
            overhead=_median(costs, "overhead"),
            edits=Estimate.of(_errors(measured, "edit_rmse"), np.mean),
            edits_local=Estimate.of(_errors(kinds[True], "edit_rmse"), np.mean),
            edits_global=Estimate.of(_errors(kinds[False], "edit_rmse"), np.mean),
            edits_psnr_db=_mean(measured, "edit_psnr_db"),
            noise_length=_mean(measured, "noise_length"),
            noise_kurtosis=_mean(measured, "noise_kurtosis"),
            noise_correlation=_mean(measured, "noise_correlation"),
        )


def markdown(
    lines: Sequence[Line],
    figures: Sequence[str] = (),
    *,
    spectra: Sequence[Line] = (),
    tuned: Sequence[guidances.Tuned] = (),
) -> str:
    """The page: ours against the published, the figures, the spectra, then three tables for each setting.

    Raises ``ValueError`` if there is nothing to report.
    """
    if not lines:
        raise RnriError("there is nothing to report", hint="measure something first")
    groups = grouped(lines, guidances.own(tuned))
    parts = [_HEAD, comparison(groups), *(f"![{name}]({name})" for name in figures), *_spectra(spectra)]
    if tuned:
        parts += ["## Guidance, chosen on the tuning split", guidances.table(tuned)]
    for setting, methods in groups.items():
        rows = [Row.of(name, some) for name, some in methods.items()]
        parts += [
            f"## {setting.model}: {setting.steps} steps, at most {setting.calls} calls, {setting.split} edits at "
            f"{setting.at}"
        ]
        parts += [_table(_FIDELITY, sorted(rows, key=lambda row: row.error.value))]
        parts += [_bounds([line for some in methods.values() for line in some])]
        parts += [_table(_EDITS, sorted(rows, key=lambda row: row.edits.value)), *_residuals(setting.steps, methods)]
    parts += ["## Measured on", *sorted({measured_on(line.run) for line in lines})]
    return "\n\n".join(parts) + "\n"


_HEAD = f"""# Convergence

How near sampling an inverted picture again comes to it, and how near an edit comes to the true picture of the edited
scene. *Calls* are those of the network, *NFE*, and two for each exact Jacobian product, forwards (*JVP*) or backwards
(*VJP*); medians. *Latent error* is the root mean square after sampling back, its median; *residual* that of the worst
step, its median; *converged* those with a residual of at most {TOLERANCE:g} at every step. *Outside the network* is the
share of seconds; with products it cannot be told. *Edit error* is the root mean square distance of the edited latents
to the encoded true target, its mean. In brackets, 95 % intervals by resampling pictures. White noise has length 1,
excess kurtosis 0 and correlation 0. `published` starts each step at its clean end and spends calls evenly; `informed`
starts from the output that the answer of the step before implies, and spends calls by the schedule's spectrum; `noised`
also starts in distribution.

Edits are made as `Editor.edit` makes them. So what was inverted with corrections is edited with the control
`automatic-mask`, which needs them; all else is edited without any control. The second ruler compares ways to edit,
not noises alone."""

_FIDELITY: dict[str, Callable[[Row], str]] = {
    "method": lambda row: row.method,
    "pictures": lambda row: str(row.pictures),
    "calls": lambda row: number(row.calls),
    "NFE + JVP + VJP": lambda row: " + ".join(map(number, row.spent)),
    "latent error": lambda row: str(row.error),
    "PSNR dB": lambda row: str(row.psnr_db),
    "residual": lambda row: number(row.residual),
    "converged %": lambda row: f"{row.converged:.0%}".rstrip("%"),
    "diverged %": lambda row: f"{row.diverged:.0%}".rstrip("%"),
    "seconds": lambda row: number(row.seconds),
    "outside the network %": lambda row: number(100 * row.overhead),
    "memory MB": lambda row: number(row.memory_mb),
}
_EDITS: dict[str, Callable[[Row], str]] = {
    "method": lambda row: row.method,
    "edit error": lambda row: str(row.edits),
    "local": lambda row: str(row.edits_local),
    "global": lambda row: str(row.edits_global),
    "PSNR dB": lambda row: number(row.edits_psnr_db),
    "noise length": lambda row: f"{row.noise_length:.3f}",
    "kurtosis": lambda row: f"{row.noise_kurtosis:.2f}",
    "correlation": lambda row: f"{row.noise_correlation:.3f}",
}


def _table(columns: Mapping[str, Callable[[Row], str]], rows: Sequence[Row]) -> str:
    return ruled([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])


def _residuals(steps: int, methods: Mapping[str, Sequence[Line]]) -> list[str]:
    """The residual of each step's first guess and of its answer, medians; nothing if no method solves."""
    shown = looked_at(steps)
    ends = {1: " (next to the image)", steps: " (next to the noise)"}
    rows = []
    for name, lines in sorted(methods.items()):
        measured = [line.measurement for line in lines]
        if lines[0].configuration["solver"] not in INVERTERS:
            firsts, answers = ([_errors_of(each[what]) for each in measured] for what in ("residuals", "residual"))
            iterations = np.median([list(map(len, each["residuals"])) for each in measured], axis=0)
            pairs = zip(np.median(firsts, axis=0), np.median(answers, axis=0), iterations, strict=True)
            cells = [f"{number(first)} → {number(answer)} in {number(count)}" for first, answer, count in pairs]
            rows.append([name, *(cells[-step] for step in shown)])
    if not rows:
        return []
    heads = ["method", *(f"step {step}{ends.get(step, '')}" for step in shown)]
    about = "The residual of each step's first guess → of its answer, medians, in so many evaluations of its equation:"
    return [about, ruled([heads, *rows])]


def _spectra(lines: Sequence[Line]) -> list[str]:
    """A line for each step of each model, medians over pictures, and what to read from them."""
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for line in lines:
        told = line.configuration
        found.setdefault((told["model"], told["steps"]), []).append(line.measurement)
    rows = []
    for (model, steps), measured in sorted(found.items()):
        norms, quotients = (np.asarray([each[name] for each in measured]) for name in ("norm", "quotient"))
        medians = (np.median(each, axis=0) for each in (norms, np.abs(quotients) / norms))
        bounds = (measured[0][name] for name in ("t", "low", "high"))
        for norm, share, below, t, low, high in zip(*medians, (quotients < 0).sum(axis=0), *bounds, strict=True):
            cells = map(number, (norm, share, below, low, high))
            rows.append([model, str(steps), number(t), str(len(measured)), *cells])
    if not rows:
        return []
    heads = ["model", "steps", "timestep", "n", "‖J‖", "size of vᵀJv/‖J‖", "vᵀJv below 0", "low", "β"]
    return ["## Theory and measured spectra", _THEORY, ruled([heads, *rows])]


_THEORY = """J = ∂g/∂z at n noised pictures, ‖J‖ its largest singular value, v that singular vector; medians. On an
ideal network J is symmetric with eigenvalues from low to β: then vᵀJv is ‖J‖ in size, at most β where it is positive
and not below low where it is negative. Where ‖J‖ exceeds 1, plain iteration need not converge."""


def _bounds(lines: Sequence[Line]) -> str:
    """What the autoencoder alone reaches, and what doing nothing does, each picture counted once."""
    pictures = list({line.image: line.measurement for line in lines}.values())
    local, whole = ([each for each in pictures if each["local"] is kind] for kind in (True, False))
    return (
        f"The autoencoder alone reaches {number(_mean(pictures, 'bound_db'))} dB. Not edited at all, pictures are "
        f"{number(_mean(pictures, 'unedited_rmse'))} from their targets "
        f"(local {number(_mean(local, 'unedited_rmse'))}, global {number(_mean(whole, 'unedited_rmse'))})."
    )


def _error(value: float | None) -> float:
    return math.inf if value is None else value


def _errors_of(steps: Sequence[Any]) -> list[float]:
    """One residual of each step: of a history the first."""
    return [_error(each[0] if isinstance(each, list) else each) for each in steps]


def _errors(measured: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [_error(each[name]) for each in measured]


def _known(measured: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [each[name] for each in measured if each[name] is not None]


def _mean(measured: Sequence[Mapping[str, Any]], name: str) -> float:
    values = _known(measured, name)
    return float(np.mean(values)) if values else math.nan


def _median(measured: Sequence[Mapping[str, Any]], name: str) -> float:
    values = _known(measured, name)
    return float(np.median(values)) if values else math.nan
