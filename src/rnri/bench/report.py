"""Lines of measurements to a page: tables in Markdown with medians, means and their 95 % intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnri.bench.run import Line
from rnri.bench.statistics import Estimate
from rnri.bench.tables import measured_on, number, ruled

TOLERANCE = 0.01
"""An inversion counts as converged when the residual of every step is at most this."""


class Setting(NamedTuple):
    """What is compared within: one table each."""

    model: str
    split: str
    guidance: float
    steps: int
    calls: int

    @classmethod
    def of(cls, line: Line) -> Setting:
        """The setting that a line belongs to."""
        return cls(*(line.configuration[name] for name in cls._fields))


@dataclass(frozen=True)
class Row:
    """One method in one setting, over ``pictures``; a measurement that was not finite counts as infinitely bad."""

    method: str
    pictures: int
    calls: float
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


def method(configuration: Mapping[str, Any]) -> str:
    """What a configuration is called: its solver, and what is not as published.

    >>> method({"solver": "chebyshev", "way": "informed", "correct": True})
    'chebyshev, informed, corrected'
    """
    way = [] if configuration["way"] == "published" else [configuration["way"]]
    return ", ".join([configuration["solver"], *way, *["corrected"] * configuration["correct"]])


def grouped(lines: Iterable[Line]) -> dict[Setting, dict[str, list[Line]]]:
    """Lines by setting and method, settings in order."""
    found: dict[Setting, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[Setting.of(line)][method(line.configuration)].append(line)
    return {setting: dict(found[setting]) for setting in sorted(found)}


def markdown(lines: Sequence[Line], figures: Sequence[str] = ()) -> str:
    """The page: two tables for each setting, the best median error and the best edits first, then the figures.

    Raises ``ValueError`` if there is nothing to report.
    """
    if not lines:
        raise ValueError("there is nothing to report: measure something first")
    summaries = {
        setting: [Row.of(name, some) for name, some in methods.items()] for setting, methods in grouped(lines).items()
    }
    parts = [_HEAD, _best(summaries), *(f"![{name}]({name})" for name in figures)]
    for setting, rows in summaries.items():
        some = [line for line in lines if setting == Setting.of(line)]
        model, split, guidance, steps, calls = setting
        parts += [f"## {model}: {steps} steps, at most {calls} calls, {split} edits at guidance {guidance:g}"]
        parts += [_table(_FIDELITY, sorted(rows, key=lambda row: row.error.value)), _bounds(some)]
        parts += [_table(_EDITS, sorted(rows, key=lambda row: row.edits.value))]
    parts += ["## Measured on", *sorted({measured_on(line.run) for line in lines})]
    return "\n\n".join(parts) + "\n"


_HEAD = f"""# Convergence

How near sampling an inverted picture again comes to it, and how near an edit comes to the true picture of the edited
scene. *Calls* are those of the network, an exact Jacobian product counted as two. *Latent error* is the root mean
square after sampling back, its median; *residual* that of the worst step, its median; *converged* those with a residual
of at most {TOLERANCE:g} at every step. *Edit error* is the root mean square distance of the edited latents to the
encoded true target, its mean. In brackets, 95 % intervals by resampling pictures. White noise has length 1, excess
kurtosis 0 and correlation 0. `published` starts each step at its clean end and spends calls evenly; `informed` starts
from the output of the step before and spends calls by the schedule's spectrum; `noised` also starts in distribution."""

_FIDELITY: dict[str, Callable[[Row], str]] = {
    "method": lambda row: row.method,
    "pictures": lambda row: str(row.pictures),
    "calls": lambda row: number(row.calls),
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


def _best(summaries: Mapping[Setting, Sequence[Row]]) -> str:
    """The winner of each setting by both rulers, beside the best of those that are used as published."""
    heads = ["model", "split", "guidance", "steps", "calls"]
    heads += ["nearest", "nearest as published", "ratio", "best edits", "best as published"]
    table = [heads]
    for setting, rows in summaries.items():
        plain = [row for row in rows if ", " not in row.method]
        near, near_plain = (min(some, key=lambda row: row.error.value, default=None) for some in (rows, plain))
        edits, edits_plain = (min(some, key=lambda row: row.edits.value, default=None) for some in (rows, plain))
        ratio = near.error.value / (near_plain.error.value or math.nan) if near and near_plain else math.nan
        errors = ["–" if row is None else f"{row.method}: {number(row.error.value)}" for row in (near, near_plain)]
        truths = ["–" if row is None else f"{row.method}: {number(row.edits.value)}" for row in (edits, edits_plain)]
        table.append([*map(str, setting), *errors, number(ratio), *truths])
    return ruled(table)


def _table(columns: Mapping[str, Callable[[Row], str]], rows: Sequence[Row]) -> str:
    return ruled([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])


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
