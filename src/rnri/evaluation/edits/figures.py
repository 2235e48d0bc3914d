"""Figures of measured edits: success over what was kept, quality over cost, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnri import images
from rnri.evaluation.edits.report import MethodSummary, Table
from rnri.evaluation.edits.run import PICTURES
from rnri.evaluation.plotting import COLOURS, Look, file_name, save
from rnri.evaluation.records import Key
from rnri.evaluation.statistics import Estimate
from rnri.images import ImageLike
from rnri.metrics import metric

EXAMPLES = 6
"""How many methods the sheet shows at most."""


def draw(table: Table, folder: Path) -> list[str]:
    """Write every figure that the table allows as PNG into ``folder``; returns the names of the files."""
    dataset, names = table.group.dataset, []
    about = f"{dataset.name}-{table.group.model.strip('/')}-{table.group.fingerprint[:6]}"
    if dataset.goal and {dataset.goal, dataset.keep} <= set(table.metrics):
        names.append(save(_tradeoff(table, dataset.goal, dataset.keep), folder, f"tradeoff-{about}"))
    if dataset.pixels in table.metrics:
        names.append(save(_costs(table, dataset.pixels), folder, f"cost-{about}"))
    if dataset.rank in table.metrics:
        names.append(file_name(f"examples-{about}"))
        images.write(_examples(table, dataset.rank, folder), folder / names[-1], overwrite=True)
    return names


def _tradeoff(table: Table, goal: str, keep: str) -> Figure:
    """Whether edits were made, over how much stayed: the best is at the top right."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for row, style in _styled(table.rows):
        x, y = _scaled(keep, row), _scaled(goal, row)
        _point(axes, x, y, _spaced(row.method), style)
    for row in table.bounds:
        if row.method == "autoencoded" and row.scores.get(keep):
            axes.axvline(
                _scaled(keep, row).value, color="0.55", linewidth=0.9, linestyle="--", label="autoencoder alone"
            )
    if metric(keep).sign < 0:
        axes.invert_xaxis()
    if metric(goal).sign < 0:
        axes.invert_yaxis()
    axes.set(xlabel=_label(keep), ylabel=_label(goal))
    _finish(axes, f"{table.group.benchmark}, {table.group.model}, {len(table.common)} pictures")
    return figure


def _costs(table: Table, pixels: str) -> Figure:
    """PSNR over network calls and over seconds."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for axes, label in zip(both, ("network evaluations", "seconds"), strict=True):
        for row, style in _styled(table.rows):
            cost = row.nfe if axes is both[0] else row.seconds
            _point(axes, Estimate(cost, cost, cost), _scaled(pixels, row), _spaced(row.method), style)
        for row in table.bounds:
            if row.method == "autoencoded" and row.scores.get(pixels):
                reached = _scaled(pixels, row).value
                axes.axhline(reached, color="0.55", linewidth=0.9, linestyle="--", label="autoencoder alone")
        axes.set(xlabel=label)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25, linewidth=0.5)
    both[0].set_ylabel(_label(pixels))
    _finish(both[1], "")
    figure.suptitle(f"{table.group.benchmark}, {table.group.model}, {len(table.common)} pictures", fontsize="medium")
    return figure


def _examples(table: Table, rank: str, folder: Path) -> images.Picture:
    """The best, the median and the worst picture of ours, beside the source, the truth and what others made of it."""
    ours, *rivals = table.rows
    sign = metric(rank).sign
    order = sorted(ours.scores[rank], key=lambda key: sign * ours.scores[rank][key])
    chosen = [("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])]
    rivals = sorted(rivals, key=lambda row: sign * np.nan_to_num(row.mean(rank).value), reverse=True)
    shown = [ours, *rivals[: EXAMPLES - 1]]
    tiles: list[tuple[ImageLike, str]] = []
    for name, key in chosen:
        lines = {line.configuration.method: line.measurement for line in table.lines if line.image == key}
        about = lines[ours.method]
        tiles.append((folder / PICTURES / "source" / f"{key}.png", f"{name}: source\n{about.source_prompt}"))
        truth = folder / PICTURES / "truth" / f"{key}.png"
        if truth.is_file():
            tiles.append((truth, f"true target\n{about.target_prompt}"))
        for row in shown:
            prompt = "" if truth.is_file() or row is not ours else f"\n{about.target_prompt}"
            score = f"{rank} {_of(row, rank, key)}"
            tiles.append((folder / lines[row.method].picture, f"{_spaced(row.method)}\n{score}{prompt}"))
    return images.sheet(tiles, columns=len(tiles) // len(chosen), width=192)


def _spaced(spec: str) -> str:
    """A spec that may be broken between its settings."""
    return spec.replace(":", ": ").replace(",", ", ")


def _of(row: MethodSummary, name: str, key: Key) -> str:
    value = row.scores.get(name, {}).get(key)
    return "–" if value is None else f"{value * metric(name).factor:.3g}"


def _point(axes: Axes, x: Estimate, y: Estimate, name: str, style: dict[str, object]) -> None:
    errors = [[[each.value - each.low], [each.high - each.value]] for each in (x, y)]
    axes.errorbar(x.value, y.value, xerr=errors[0], yerr=errors[1], label=name, elinewidth=0.8, **style)  # type: ignore[arg-type]


def _styled(rows: Sequence[MethodSummary]) -> Iterator[tuple[MethodSummary, dict[str, object]]]:
    """Each method with its look; ours, the first, is a star in a colour of its own."""
    mine, *colours = COLOURS[1], COLOURS[0], *COLOURS[2:]
    for n, row in enumerate(rows):
        look = Look.of(n - 1, colours) if n else Look(mine, "*")
        size, order = (6, 2) if n else (13, 3)
        style = {"color": look.colour, "marker": look.marker, "markersize": size, "linestyle": "none", "zorder": order}
        yield row, style


def _scaled(name: str, row: MethodSummary) -> Estimate:
    return row.mean(name).scaled(metric(name).factor)


def _label(name: str) -> str:
    shown = metric(name)
    scale = f" ×10$^{shown.power}$" if shown.power and shown.unit != "%" else ""
    return f"{name}{scale}{f' in {shown.unit}' if shown.unit else ''} ({shown.better} is better)"


def _finish(axes: Axes, title: str) -> None:
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
    axes.set_title(title, fontsize="medium")
