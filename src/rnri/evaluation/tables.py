"""Parts of reports: figures, tables in Markdown, and the machine that something was measured on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnri.evaluation.machine import Environment


def number(value: float) -> str:
    """Three digits; a dash for a number that is not known.

    >>> number(0.012345), number(1234.5), number(float("nan"))
    ('0.0123', '1234', '–')
    """
    if math.isnan(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def digits(value: float) -> str:
    """Three digits, zeros too, so that figures under each other are equally precise.

    >>> digits(27.0), digits(0.5), digits(1234.5), digits(float("inf"))
    ('27.0', '0.500', '1234', 'inf')
    """
    return number(value) if not 1e-4 <= abs(value) < 1000 else f"{value:#.3g}".rstrip(".")


def ruled(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its heads first."""
    heads, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rest))


def measured_on(run: Environment) -> str:
    """An item of a list: hardware and versions."""
    versions = ", ".join(f"{name} {release}" for name, release in run.versions.items())
    return f"- {run.device}, {run.threads} threads, {run.system}, {versions}"
