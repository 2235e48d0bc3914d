"""Lines of measurements to pictures: what the tables say, at a glance."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnri.bench.report import Row, Setting, grouped
from rnri.bench.run import Line

Methods = dict[str, list[Line]]
Curves = dict[str, list[tuple[Setting, Row]]]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#8c564b", "#7f3fbf")
_DASHES = ("-", "--", ":", "-.")


def draw(lines: Sequence[Line], spectra: Sequence[Line], folder: Path) -> list[str]:
    """Write every figure that the lines allow as PNG into ``folder``; returns the names of the files."""
    names = []
    by_steps: dict[Setting, dict[Setting, Methods]] = defaultdict(dict)
    for setting, methods in grouped(lines).items():
        by_steps[setting._replace(calls=0)][setting] = methods
    for (model, split, guidance, steps, _), settings in by_steps.items():
        curves: Curves = defaultdict(list)
        for setting, methods in settings.items():
            for name, some in methods.items():
                curves[name].append((setting, Row.of(name, some)))
        most = settings[max(settings)]
        for what, figure in (
            ("error-by-calls", _errors(curves, "network calls", lambda row: row.calls)),
            ("error-by-seconds", _errors(curves, "seconds", lambda row: row.seconds)),
            ("edits-by-error", _tradeoff(curves)),
            ("residuals", _histories(most)),
        ):
            figure.suptitle(f"{model}, {steps} steps, {split} edits at guidance {guidance:g}")
            names.append(_write(figure, folder, f"{what}-{model.strip('/')}-{split}-{guidance:g}-{steps}"))
    for model in sorted({line.configuration["model"] for line in spectra}):
        some = [line for line in spectra if line.configuration["model"] == model]
        names.append(_write(_contraction(some, model), folder, f"spectra-{model.strip('/')}"))
    return names


def _errors(curves: Curves, label: str, across: Callable[[Row], float]) -> Figure:
    """Median latent error with its interval, log–log."""
    figure, axes = _one()
    for name, points, style in _styled(curves):
        x = [across(row) for _, row in points]
        axes.plot(x, [row.error.value for _, row in points], marker="o", markersize=3, label=name, **style)
        axes.fill_between(
            x, *np.array([row.error[1:] for _, row in points]).T, color=style["color"], alpha=0.12, linewidth=0
        )
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="latent error after sampling back")
    _legend(axes)
    return figure


def _tradeoff(curves: Curves) -> Figure:
    """Edit error against fidelity, one point per number of calls, joined."""
    figure, axes = _one()
    for name, points, style in _styled(curves):
        errors, edits = ([getattr(row, what).value for _, row in points] for what in ("error", "edits"))
        axes.plot(errors, edits, marker="o", markersize=3, label=name, **style)
    axes.set(xscale="log", xlabel="latent error after sampling back", ylabel="edit error to the true target")
    _legend(axes)
    return figure


def _histories(methods: Methods) -> Figure:
    """Median residual by iteration, at the step next to the image and at the one next to the noise."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, step, title in zip(
        figure.subplots(1, 2, sharey=True), (-1, 0), ("step next to the image", "step next to the noise"), strict=True
    ):
        solved = {name: some for name, some in methods.items() if some[0].measurement["residuals"]}
        for name, lines, style in _styled(solved):
            histories = [
                [np.nan if value is None else value for value in line.measurement["residuals"][step]] for line in lines
            ]
            axes.plot(range(1, len(histories[0]) + 1), np.median(histories, axis=0), label=name, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(yscale="log", xlabel="iteration", ylabel="residual", title=title)
        axes.grid(alpha=0.25, linewidth=0.5)
    _legend(axes)
    return figure


def _contraction(lines: Sequence[Line], model: str) -> Figure:
    """‖J‖ of each step's equation, measured (median) and as the schedule bounds it."""
    figure, axes = _one()
    counts = sorted({line.configuration["steps"] for line in lines})
    for steps, colour in zip(counts, _COLOURS, strict=False):
        some = [line.measurement for line in lines if line.configuration["steps"] == steps]
        t = some[0]["t"]
        axes.plot(
            t,
            np.median([each["norm"] for each in some], axis=0),
            "o-",
            markersize=3,
            color=colour,
            label=f"{steps} steps",
        )
        axes.plot(t, some[0]["high"], "--", color=colour, linewidth=1)
    axes.axhline(1.0, color="0.6", linewidth=0.8)
    axes.set(yscale="log", xlabel="timestep", ylabel="largest singular value of ∂g/∂z (dashed: β)", title=model)
    _legend(axes)
    return figure


def _styled(named: dict[str, list[Any]]) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Each name with what is under it and its look: a colour for a solver, a dash for the way it is used."""
    solvers = list(dict.fromkeys(name.split(", ")[0] for name in sorted(named)))
    ways = list(dict.fromkeys(name.partition(", ")[2] for name in sorted(named)))
    for name in sorted(named):
        solver, _, way = name.partition(", ")
        index = solvers.index(solver)
        yield (
            name,
            named[name],
            {
                "color": _COLOURS[index % len(_COLOURS)],
                "linestyle": _DASHES[ways.index(way) % len(_DASHES)],
                "linewidth": 1.2 if index < len(_COLOURS) else 2.4,
            },
        )


def _one() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    return figure, figure.subplots()


def _legend(axes: Axes) -> None:
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="x-small", frameon=False)


def _write(figure: Figure, folder: Path, name: str) -> str:
    file = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-')}.png"
    figure.savefig(folder / file, dpi=130)
    return file
