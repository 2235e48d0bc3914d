"""The page of a folder of measurements, whatever was measured there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnri_core.errors import RnriError

from rnri.evaluation.edits import report as edits_report
from rnri.evaluation.records import read
from rnri.evaluation.solvers import guidances, report

CONVERGENCE, SPECTRA, EDITS = "convergence.jsonl", "spectra.jsonl", "edits.jsonl"
PAGE = "report.md"


def write(folder: Path, *, ours: str | None = None) -> tuple[Path, list[dict[str, Any]], bool]:
    """Write ``report.md`` and figures of all that was measured in a folder, without measuring anything.

    Returns the page, what it says of edits (:func:`rnri.evaluation.edits.report.summary`), and whether there are
    figures: they need matplotlib. ``ours`` is the method that others are held against. Raises ``ValueError`` if nothing
    was measured there.
    """
    kinds: Mapping[str, Callable[[Path, str | None], tuple[str, list[dict[str, Any]], bool]]] = {
        CONVERGENCE: _convergence,
        EDITS: _edits,
    }
    there = [name for name in kinds if (folder / name).is_file()]
    if not there:
        raise RnriError(
            f"{folder} holds no measurements",
            hint=f"make some with 'rnri bench scenes -o {folder}', or with pie, coco, folder or convergence",
        )
    made = [kinds[name](folder, ours) for name in there]
    page, unfinished = folder / PAGE, folder / f".{PAGE}.tmp"
    unfinished.write_text("\n".join(text for text, _, _ in made), encoding="utf-8")
    os.replace(unfinished, page)
    return page, [each for _, told, _ in made for each in told], all(drawn for _, _, drawn in made)


def _convergence(folder: Path, _ours: str | None) -> tuple[str, list[dict[str, Any]], bool]:
    measured = list(read(folder / CONVERGENCE))
    spectra = list(read(folder / SPECTRA)) if (folder / SPECTRA).is_file() else []
    tuned = guidances.choose(measured)
    if tuned:
        guidances.write(folder, tuned)
    elif (folder / guidances.CHOICE).is_file():
        tuned = guidances.read(folder)
    try:
        from rnri.evaluation.solvers.figures import draw
    except ModuleNotFoundError:
        return report.markdown(measured, spectra=spectra, tuned=tuned), [], False
    figures = draw(measured, spectra, folder, guidances.own(tuned))
    return report.markdown(measured, figures, spectra=spectra, tuned=tuned), [], True


def _edits(folder: Path, ours: str | None) -> tuple[str, list[dict[str, Any]], bool]:
    tables = edits_report.tables(read(folder / EDITS), ours)
    figures: dict[edits_report.Group, Sequence[str]] = {}
    drawn = True
    try:
        from rnri.evaluation.edits.figures import draw
    except ModuleNotFoundError:
        drawn = False
    else:
        figures = {table.group: draw(table, folder) for table in tables}
    return edits_report.markdown(tables, figures), edits_report.summary(tables), drawn
