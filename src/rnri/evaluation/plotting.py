"""Common parts of figures: colours and markers of methods, names where curves end, files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
"""Colours of Okabe and Ito, which colour-blind people can distinguish, without yellow, which is too pale for lines."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "d")
"""Markers; their number has no common divisor with that of the colours, so all pairs come before one is repeated."""


@dataclass(frozen=True)
class Look:
    """A colour and a marker."""

    colour: str
    marker: str

    @classmethod
    def of(cls, place: int, colours: Sequence[str] = COLOURS) -> Look:
        """The look of the method in this place of a list.

        >>> len({Look.of(place) for place in range(77)})
        77
        """
        return cls(colours[place % len(colours)], MARKERS[place % len(MARKERS)])


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved as little as it takes, by least squares, for each to be ``gap`` above the one before.

    >>> apart([0.0, 1.0, 1.0, 5.0], 1.0)
    [-0.333..., 0.666..., 1.666..., 5.0]
    """
    steps = gap * np.arange(len(places))
    return (isotonic_regression(np.asarray(places) - steps).x + steps).tolist() if len(places) else []


@dataclass(frozen=True)
class CurveEnd:
    """The end of a curve, with the name and look of the curve."""

    name: str
    x: float
    y: float
    look: Look
    filled: bool = True
    bold: bool = False


def name_ends(axes: Axes, ends: Sequence[CurveEnd], *, gap: float, pad: float = 0.035) -> None:
    """Write names right of the axes, each on a line from where its curve ends; limits must be set.

    ``gap`` is the least distance of names as a share of the axes' height, ``pad`` how far right as one of its width.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = sorted(((float(to_axes.transform((end.x, end.y))[1]), end) for end in ends), key=lambda each: each[0])
    wanted = apart([min(max(place, 0.0), 1.0) for place, _ in placed], gap)
    for n, ((start, end), place) in enumerate(zip(placed, wanted, strict=True)):
        held = min(max(place, n * gap), 1 - (len(wanted) - 1 - n) * gap) if len(wanted) * gap < 1 else place
        begin = (float(to_axes.transform((end.x, end.y))[0]), min(max(start, 0.0), 1.0))
        common: dict[str, Any] = {"transform": axes.transAxes, "color": end.look.colour, "clip_on": False}
        axes.plot(
            (begin[0], 1 + pad / 3, 1 + pad), (begin[1], held, held), linewidth=0.5, alpha=0.6, zorder=1, **common
        )
        face = end.look.colour if end.filled else "white"
        axes.plot(1 + pad, held, marker=end.look.marker, markersize=4.5, markerfacecolor=face, **common)
        weight = "bold" if end.bold else "normal"
        axes.text(1 + 1.5 * pad, held, end.name, va="center", fontsize=7.5, fontweight=weight, **common)


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as PNG; returns the name of the file."""
    file = file_name(name)
    figure.savefig(folder / file, dpi=130)
    return file


def file_name(name: str) -> str:
    """The name of a PNG file, of letters, digits, dots and hyphens alone.

    >>> file_name("cost of ./my model")
    'cost-of-.-my-model.png'
    """
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-')}.png"
