"""Figures of measured solvers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from rnri_core.inversion.presets import INVERTERS, PRESETS
from rnri_core.solvers import SOLVERS

from rnri.evaluation.plotting import CurveEnd, Look, name_ends, save
from rnri.evaluation.solvers.convergence import ConvergenceLine
from rnri.evaluation.solvers.groups import Groups, SolverGroup, TunedGuidance, grouped, shown_steps, step_label
from rnri.evaluation.solvers.report import SolverSummary
from rnri.evaluation.solvers.spectra import SpectrumLine
from rnri.evaluation.tables import number

_DASHES = {"published": "-", "preset": "-", "informed": "--", "noised": ":"}
_GAP, _PAD = 0.15, 0.22
"""Inches between names, and from the axes to their markers."""


@dataclass(frozen=True)
class Curve:
    """A method over numbers of calls, with its look: a colour and a marker for a solver, a dash for its way.

    Ours are thick. The errors of ``exact`` methods are those of rounding alone.
    """

    name: str
    rows: Sequence[SolverSummary]
    by_group: Mapping[SolverGroup, SolverSummary]
    look: Look
    style: dict[str, Any]
    ours: bool
    exact: bool


def draw(
    lines: Sequence[ConvergenceLine],
    spectra: Sequence[SpectrumLine],
    folder: Path,
    tuned: TunedGuidance | None = None,
) -> list[str]:
    """Write every figure that the lines allow as PNG into ``folder``; returns the names of the files."""
    names = []
    by_steps: dict[SolverGroup, Groups] = defaultdict(dict)
    for group, methods in grouped(lines, tuned).items():
        by_steps[group._replace(calls=0)][group] = methods
    for whole, groups in by_steps.items():
        curves, most = _curves(groups), max(groups, key=lambda each: each.calls)
        about = f"{whole.model}, {whole.steps} steps, {whole.split} edits at {whole.guidance_label}"
        for name, figure in (
            ("error-by-calls", _errors(curves, "network calls", lambda row: row.calls)),
            ("error-by-seconds", _errors(curves, "seconds", lambda row: row.seconds)),
            ("edits-by-calls", _edits(curves)),
            ("edits-by-error", _tradeoff(curves)),
            ("residuals", _histories(curves, most)),
        ):
            figure.suptitle(f"{about}, at most {most.calls} calls" if name == "residuals" else about, fontsize="medium")
            stem = f"{name}-{whole.model.strip('/')}-{whole.split}-{whole.cells[2]}-{whole.steps}"
            names.append(save(figure, folder, stem))
    for model in sorted({line.configuration.model for line in spectra}):
        some = [line for line in spectra if line.configuration.model == model]
        names.append(save(_contraction(some, model), folder, f"spectra-{model.strip('/')}"))
    return names


def _curves(groups: Groups) -> list[Curve]:
    """One for each method; a solver looks the same in every figure."""
    summaries: dict[str, dict[SolverGroup, SolverSummary]] = defaultdict(dict)
    for group, methods in groups.items():
        for name, some in methods.items():
            summaries[name][group] = SolverSummary(name, some)
    solvers = dict.fromkeys([*PRESETS, *SOLVERS, *INVERTERS, *sorted(name.split(", ")[0] for name in summaries)])
    places = {name: place for place, name in enumerate(solvers)}
    curves = []
    for name, by_group in sorted(summaries.items()):
        rows = list(by_group.values())
        setting = rows[0].lines[0].configuration
        look, ours = Look.of(places[setting.solver]), setting.origin == "ours"
        style = {
            "color": look.colour,
            "marker": look.marker,
            "markersize": 5 if ours else 4,
            "linestyle": "-." if setting.correct else _DASHES[setting.way],
            "linewidth": 2.0 if ours else 0.9,
            "markerfacecolor": look.colour if setting.way in ("published", "preset") else "white",
            "zorder": 3 if ours else 2,
        }
        curves.append(Curve(name, rows, by_group, look, style, ours, setting.exact))
    return curves


def _errors(curves: Sequence[Curve], label: str, across: Callable[[SolverSummary], float]) -> Figure:
    """Median latent error with its interval, log–log; below, the calls of exact methods."""
    solved, certain = ([each for each in curves if each.exact is which] for which in (False, True))
    high = max(3.0, _GAP * len(solved) + 0.3)
    figure = Figure(figsize=(8.5, high + _GAP * len(certain) + 1.6), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(high, 0.3 + _GAP * len(certain)))
    for curve in solved:
        x, errors = [across(row) for row in curve.rows], [row.error for row in curve.rows]
        axes.plot(x, [error.value for error in errors], **curve.style)
        axes.fill_between(
            x, *np.array([error[1:] for error in errors]).T, color=curve.look.colour, alpha=0.1, linewidth=0
        )
    axes.set(xscale="log", yscale="log", ylabel="latent error after sampling back")
    _round(axes)
    for place, curve in enumerate(certain):
        x = [across(row) for row in curve.rows]
        below.plot(x, [place] * len(x), **curve.style)
    below.set(xlabel=label, ylim=(-0.8, max(len(certain), 1) - 0.2), yticks=[])
    below.set_ylabel("exact", rotation=0, ha="right", va="center")
    below.grid(alpha=0.25, which="both", linewidth=0.5)
    _ends(axes, [(each, across(each.rows[-1]), each.rows[-1].error.value) for each in solved])
    names = {each.name: f"{each.name}: {number(max(row.error.value for row in each.rows))}" for each in certain}
    _ends(below, [(each, across(each.rows[-1]), place) for place, each in enumerate(certain)], names)
    return figure


def _edits(curves: Sequence[Curve]) -> Figure:
    """Edit error over calls, of exact methods too."""
    figure = Figure(figsize=(8.5, max(4.0, _GAP * len(curves) + 1.3)), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        x, edits = [row.calls for row in curve.rows], [row.edits for row in curve.rows]
        axes.plot(x, [edit.value for edit in edits], **curve.style)
        if curve.ours:
            band = np.array([edit[1:] for edit in edits]).T
            axes.fill_between(x, *band, color=curve.look.colour, alpha=0.1, linewidth=0)
    axes.set(xscale="log", xlabel="network calls of the inversion", ylabel="edit error to the true target")
    _unedited(axes, curves)
    _round(axes)
    _ends(axes, [(each, each.rows[-1].calls, each.rows[-1].edits.value) for each in curves])
    return figure


def _tradeoff(curves: Sequence[Curve]) -> Figure:
    """Edit error against fidelity, one point per number of calls, joined, larger for more; exact methods at the end."""
    figure = Figure(figsize=(11, max(4.0, _GAP * len(curves) + 1.3)), layout="constrained")
    axes, last = figure.subplots(1, 2, sharey=True, width_ratios=(6, 1))
    for curve in curves:
        edits = [row.edits.value for row in curve.rows]
        x, where = ([0.0] * len(edits), last) if curve.exact else ([row.error.value for row in curve.rows], axes)
        where.plot(x, edits, **curve.style | {"marker": None})
        sizes, face = 10 * np.arange(1, len(edits) + 1), curve.style["markerfacecolor"]
        look = curve.look
        where.scatter(x, edits, sizes, marker=look.marker, edgecolors=look.colour, facecolors=face, zorder=3)
    axes.set(xscale="log", xlabel="latent error after sampling back", ylabel="edit error to the true target")
    last.set(xticks=[], xlabel="exact", xlim=(-1, 1))
    axes.invert_xaxis()
    _unedited(axes, curves)
    _round(axes)
    last.grid(alpha=0.25, linewidth=0.5)
    for where, which in ((axes, False), (last, True)):
        some = [each for each in curves if each.exact is which]
        _ends(where, [(each, 0.0 if which else each.rows[-1].error.value, each.rows[-1].edits.value) for each in some])
    return figure


def _histories(curves: Sequence[Curve], group: SolverGroup) -> Figure:
    """Median residual by iteration, at some steps or all."""
    shown = [each for each in curves if group in each.by_group and each.name not in INVERTERS]
    steps = shown_steps(group.steps)
    figure = Figure(figsize=(9.5, max(4.0, 3.4 * ((len(steps) + 1) // 2))), layout="constrained")
    panels = figure.subplots((len(steps) + 1) // 2, min(2, len(steps)), sharey=True, squeeze=False).flatten()
    for axes, step in zip(panels, steps, strict=False):
        for curve in shown:
            histories = [each.residuals[-step] for each in curve.by_group[group].measured]
            x = range(1, len(histories[0]) + 1)
            axes.plot(x, np.median(histories, axis=0), **curve.style | {"markersize": 3.5}, label=curve.name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(yscale="log", xlabel="evaluation", ylabel="")
        axes.set_title(step_label(step, group.steps), fontsize="medium")
        axes.set_ylabel("residual" if axes.get_subplotspec().is_first_col() else "")
        axes.grid(alpha=0.25, linewidth=0.5)
    for axes in panels[len(steps) :]:
        axes.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize="x-small", frameon=False)
    return figure


def _contraction(lines: Sequence[SpectrumLine], model: str) -> Figure:
    """‖J‖ of each step's equation, measured (median) and as the schedule bounds it."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, steps in enumerate(sorted({line.configuration.steps for line in lines})):
        some = [line.measurement for line in lines if line.configuration.steps == steps]
        t, look = some[0].t, Look.of(place)
        norms = np.median([each.norm for each in some], axis=0)
        quotients = np.median(np.abs([each.quotient for each in some]), axis=0)
        common: dict[str, Any] = {"marker": look.marker, "markersize": 4, "color": look.colour}
        axes.plot(t, norms, "-", **common, label=f"{steps} steps: ‖J‖")
        axes.plot(t, quotients, ":", **common, markerfacecolor="white", label=f"{steps} steps: |vᵀJv|")
        axes.plot(t, some[0].high, "--", color=look.colour, linewidth=1, label=f"{steps} steps: β")
    axes.axhline(1.0, color="0.6", linewidth=0.8)
    axes.set(yscale="log", xlabel="timestep", ylabel="J = ∂g/∂z, medians over pictures", title=model)
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    axes.legend(fontsize="small", frameon=False)
    return figure


def _unedited(axes: Axes, curves: Sequence[Curve]) -> None:
    """A line at the error of not editing; the axis ends above it, so that only tables have curves far above."""
    pictures = {line.image: line.measurement for curve in curves for row in curve.rows for line in row.lines}
    nothing = float(np.mean([each.unedited_rmse for each in pictures.values()]))
    axes.axhline(nothing, color="0.6", linewidth=0.8, linestyle=(0, (6, 3)))
    axes.annotate("not edited at all", (0.01, nothing), xycoords=("axes fraction", "data"), va="bottom", fontsize=7.5)
    ends = [curve.rows[-1].edits.value for curve in curves if curve.rows[-1].edits.value < 2 * nothing]
    axes.set_ylim(top=min(axes.get_ylim()[1], max([1.2 * nothing, *(1.05 * end for end in ends)])))


def _ends(axes: Axes, ends: Sequence[tuple[Curve, float, float]], names: Mapping[str, str] | None = None) -> None:
    """Name the curves that end at finite points."""
    size, place = axes.figure.get_size_inches(), axes.get_position()  # type: ignore[union-attr]
    placed = [
        CurveEnd(
            (names or {}).get(each.name, each.name),
            x,
            y,
            each.look,
            each.style["markerfacecolor"] != "white",
            each.ours,
        )
        for each, x, y in ends
        if np.isfinite((x, y)).all()
    ]
    name_ends(axes, placed, gap=_GAP / (size[1] * place.height), pad=_PAD / (size[0] * place.width))


def _round(axes: Axes) -> None:
    """Plain numbers along a logarithmic axis, and a grid."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 4, 6)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
