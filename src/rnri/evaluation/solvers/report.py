"""The page of measured solvers: tables in Markdown with medians, means and their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rnri_core.errors import RnriError
from rnri_core.inversion.presets import INVERTERS

from rnri.evaluation.solvers import guidances
from rnri.evaluation.solvers.convergence import ConvergenceLine, InversionMeasurement
from rnri.evaluation.solvers.groups import grouped, shown_steps, step_label
from rnri.evaluation.solvers.rivals import comparison
from rnri.evaluation.solvers.spectra import SpectrumLine
from rnri.evaluation.statistics import Estimate
from rnri.evaluation.tables import measured_on, number, ruled

TOLERANCE = 0.01
"""An inversion counts as converged when the residual of every step is at most this."""

Measured = Sequence[InversionMeasurement]


@dataclass(frozen=True)
class SolverSummary:
    """One method in one group; a measurement that was not finite counts as infinitely bad."""

    method: str
    lines: Sequence[ConvergenceLine]

    @cached_property
    def measured(self) -> Measured:
        """The measurements."""
        return [line.measurement for line in self.lines]

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return len({line.image for line in self.lines})

    @property
    def calls(self) -> float:
        """Median network calls."""
        return _median(each.cost.calls for each in self.measured)

    @property
    def seconds(self) -> float:
        """Median seconds."""
        return _median(each.cost.seconds for each in self.measured)

    @cached_property
    def error(self) -> Estimate:
        """Median latent error after sampling back."""
        return Estimate.of([each.latent_rmse for each in self.measured])

    @cached_property
    def edits(self) -> Estimate:
        """Mean edit error."""
        return self.edits_of(True, False)

    def edits_of(self, *local: bool) -> Estimate:
        """Mean edit error of local or global edits, or both."""
        return Estimate.of([each.edit_rmse for each in self.measured if each.local in local], np.mean)

    @property
    def worst_residuals(self) -> list[float]:
        """The residual of each picture's worst step."""
        return [max(each.residual) for each in self.measured]

    @property
    def converged(self) -> float:
        """Share of pictures whose residuals are at most :data:`TOLERANCE`."""
        return float(np.mean([value <= TOLERANCE for value in self.worst_residuals]))

    @property
    def diverged(self) -> float:
        """Share of pictures with a step that diverged."""
        return float(np.mean(["DIVERGED" in each.status for each in self.measured]))


def markdown(
    lines: Sequence[ConvergenceLine],
    figures: Sequence[str] = (),
    *,
    spectra: Sequence[SpectrumLine] = (),
    tuned: Sequence[guidances.Tuned] = (),
) -> str:
    """The page: ours against the published, the figures, the spectra, then three tables for each group.

    Raises ``RnriError`` where there is nothing to report.
    """
    if not lines:
        raise RnriError("there is nothing to report", hint="measure something first")
    groups = grouped(lines, guidances.tuned_guidance(tuned))
    parts = [_HEAD, comparison(groups), *(f"![{name}]({name})" for name in figures), *_spectra(spectra)]
    if tuned:
        parts += ["## Guidance, chosen on the tuning split", guidances.table(tuned)]
    for group, methods in groups.items():
        rows = [SolverSummary(name, some) for name, some in methods.items()]
        parts += [
            f"## {group.model}: {group.steps} steps, at most {group.calls} calls, {group.split} edits at "
            f"{group.guidance_label}"
        ]
        parts += [_table(_FIDELITY, sorted(rows, key=lambda row: row.error.value))]
        parts += [_bounds([line for some in methods.values() for line in some])]
        parts += [_table(_EDITS, sorted(rows, key=lambda row: row.edits.value)), *_residuals(group.steps, rows)]
    parts += ["## Measured on", *sorted({measured_on(line.run) for line in lines})]
    return "\n\n".join(parts) + "\n"


_HEAD = f"""# Convergence

How near sampling an inverted picture again comes to it, and how near an edit comes to the true picture of the edited
scene. *Calls* are those of the network, *NFE*, and two for each exact Jacobian product, forwards (*JVP*) or backwards
(*VJP*); medians. *Latent error* is the root mean square after sampling back, its median; *residual* that of the worst
step, its median; *converged* those with a residual of at most {TOLERANCE:g} at every step. *Outside the network* is the
share of seconds; with products it cannot be measured. *Edit error* is the root mean square distance of the edited
latents to the encoded true target, its mean. In brackets, 95 % intervals by resampling pictures. White noise has length
1, excess kurtosis 0 and correlation 0. `published` starts each step at its clean end and spends calls evenly;
`informed` starts from the output that the solution of the step before implies, and spends calls by the schedule's
spectrum; `noised` also starts in distribution.

Edits are made as `Editor.edit` makes them: after an inversion with noise maps with the control `automatic-mask`, which
needs them, and without any control after others. So edit errors compare ways to edit, not noises alone."""

_FIDELITY: dict[str, Callable[[SolverSummary], str]] = {
    "method": lambda row: row.method,
    "pictures": lambda row: str(row.pictures),
    "calls": lambda row: number(row.calls),
    "NFE + JVP + VJP": lambda row: " + ".join(
        number(_median(spent))
        for spent in zip(*((each.cost.nfe, each.cost.njvp, each.cost.nvjp) for each in row.measured), strict=True)
    ),
    "latent error": lambda row: str(row.error),
    "PSNR dB": lambda row: str(Estimate.of(_finite(each.psnr_db for each in row.measured), np.mean)),
    "residual": lambda row: number(float(np.median(row.worst_residuals))),
    "converged %": lambda row: f"{row.converged:.0%}".rstrip("%"),
    "diverged %": lambda row: f"{row.diverged:.0%}".rstrip("%"),
    "seconds": lambda row: number(row.seconds),
    "outside the network %": lambda row: number(100 * _median(each.cost.overhead for each in row.measured)),
    "memory MB": lambda row: number(_median(each.cost.memory_mb for each in row.measured)),
}
_EDITS: dict[str, Callable[[SolverSummary], str]] = {
    "method": lambda row: row.method,
    "edit error": lambda row: str(row.edits),
    "local": lambda row: str(row.edits_of(True)),
    "global": lambda row: str(row.edits_of(False)),
    "PSNR dB": lambda row: number(_mean(each.edit_psnr_db for each in row.measured)),
    "noise length": lambda row: f"{_mean(each.noise_length for each in row.measured):.3f}",
    "kurtosis": lambda row: f"{_mean(each.noise_kurtosis for each in row.measured):.2f}",
    "correlation": lambda row: f"{_mean(each.noise_correlation for each in row.measured):.3f}",
}


def _table(columns: Mapping[str, Callable[[SolverSummary], str]], rows: Sequence[SolverSummary]) -> str:
    return ruled([list(columns), *([cell(row) for cell in columns.values()] for row in rows)])


def _residuals(steps: int, methods: Sequence[SolverSummary]) -> list[str]:
    """Median residuals of each step's initial guess and of its solution; nothing where no method solves."""
    shown, rows = shown_steps(steps), []
    for each in sorted(methods, key=lambda each: each.method):
        if each.lines[0].configuration.solver not in INVERTERS:
            firsts = np.median([[history[0] for history in one.residuals] for one in each.measured], axis=0)
            solutions = np.median([one.residual for one in each.measured], axis=0)
            counts = np.median([list(map(len, one.residuals)) for one in each.measured], axis=0)
            triples = zip(firsts, solutions, counts, strict=True)
            cells = [f"{number(first)} → {number(solution)} in {number(count)}" for first, solution, count in triples]
            rows.append([each.method, *(cells[-step] for step in shown)])
    if not rows:
        return []
    heads = ["method", *(step_label(step, steps) for step in shown)]
    about = (
        "The residual of each step's initial guess → of its solution, medians, in so many evaluations of its equation:"
    )
    return [about, ruled([heads, *rows])]


def _spectra(lines: Sequence[SpectrumLine]) -> list[str]:
    """A line for each step of each model, medians over pictures, and how to read them."""
    groups: dict[tuple[str, int], list[SpectrumLine]] = {}
    for line in lines:
        groups.setdefault((line.configuration.model, line.configuration.steps), []).append(line)
    rows = []
    for (model, steps), some in sorted(groups.items()):
        norms = np.asarray([line.measurement.norm for line in some])
        quotients = np.asarray([line.measurement.quotient for line in some])
        medians = (np.median(each, axis=0) for each in (norms, np.abs(quotients) / norms))
        first = some[0].measurement
        bounds = (first.t, first.low, first.high)
        for norm, share, below, t, low, high in zip(*medians, (quotients < 0).sum(axis=0), *bounds, strict=True):
            cells = map(number, (norm, share, below, low, high))
            rows.append([model, str(steps), number(t), str(len(some)), *cells])
    if not rows:
        return []
    heads = ["model", "steps", "timestep", "n", "‖J‖", "size of vᵀJv/‖J‖", "vᵀJv below 0", "low", "β"]
    return ["## Theory and measured spectra", _THEORY, ruled([heads, *rows])]


_THEORY = """J = ∂g/∂z at n noised pictures, ‖J‖ its largest singular value, v that singular vector; medians. On an
ideal network J is symmetric with eigenvalues from low to β: then vᵀJv is ‖J‖ in size, at most β where it is positive
and not below low where it is negative. Where ‖J‖ exceeds 1, plain iteration need not converge."""


def _bounds(lines: Sequence[ConvergenceLine]) -> str:
    """PSNR of the autoencoder alone, and the error of not editing at all, each picture counted once."""
    pictures = list({line.image: line.measurement for line in lines}.values())
    local, whole = (
        number(_mean(each.unedited_rmse for each in pictures if each.local is kind)) for kind in (True, False)
    )
    return (
        f"The autoencoder alone reaches {number(_mean(each.bound_db for each in pictures))} dB. Not edited at all, "
        f"pictures are {number(_mean(each.unedited_rmse for each in pictures))} from their targets "
        f"(local {local}, global {whole})."
    )


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _mean(values: Iterable[float | None]) -> float:
    """The mean of the numbers that are known and finite; not a number if none is."""
    known = _finite(values)
    return float(np.mean(known)) if known else math.nan


def _median(values: Iterable[float | None]) -> float:
    """The median of the numbers that are known and finite; not a number if none is."""
    known = _finite(values)
    return float(np.median(known)) if known else math.nan
