"""The page of a folder of measurements, for every benchmark that was run there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnri_core.errors import RnriError

from rnri.evaluation.edits import report as edits_report
from rnri.evaluation.edits.run import EDITS
from rnri.evaluation.records import write_whole
from rnri.evaluation.solvers import guidances, report
from rnri.evaluation.solvers.convergence import CONVERGENCE
from rnri.evaluation.solvers.spectra import SPECTRA

PAGE = "report.md"

Made = tuple[str, list[dict[str, Any]], bool]
"""The text of a page, its content for machines, and whether there are figures."""


def write(folder: Path, *, ours: str | None = None) -> tuple[Path, list[dict[str, Any]], bool]:
    """Write ``report.md`` and its figures from the measurements in a folder.

    Args:
        folder: where the measurements are.
        ours: the method that others are compared with; the first measured.

    Returns:
        The page, its content on edits (:func:`rnri.evaluation.edits.report.summary`), and whether there are figures,
        which need matplotlib.

    Raises:
        RnriError: for a folder without measurements.
    """
    kinds: Mapping[str, Callable[[Path, str | None], Made]] = {CONVERGENCE.file: _convergence, EDITS.file: _edits}
    there = [name for name in kinds if (folder / name).is_file()]
    if not there:
        raise RnriError(
            f"{folder} holds no measurements",
            hint=f"make some with 'rnri bench scenes -o {folder}', or with pie, coco, folder or convergence",
        )
    made = [kinds[name](folder, ours) for name in there]
    write_whole(folder / PAGE, "\n".join(text for text, _, _ in made))
    return folder / PAGE, [each for _, content, _ in made for each in content], all(drawn for _, _, drawn in made)


def _convergence(folder: Path, _ours: str | None) -> Made:
    measured, spectra = CONVERGENCE.read(folder), SPECTRA.read(folder)
    tuned = guidances.choose(measured)
    if tuned:
        guidances.write(folder, tuned)
    elif (folder / guidances.CHOICE).is_file():
        tuned = guidances.read(folder)
    try:
        from rnri.evaluation.solvers.figures import draw
    except ModuleNotFoundError:
        return report.markdown(measured, spectra=spectra, tuned=tuned), [], False
    figures = draw(measured, spectra, folder, guidances.tuned_guidance(tuned))
    return report.markdown(measured, figures, spectra=spectra, tuned=tuned), [], True


def _edits(folder: Path, ours: str | None) -> Made:
    tables = edits_report.tables(EDITS.read(folder), ours)
    figures: dict[edits_report.Group, Sequence[str]] = {}
    drawn = True
    try:
        from rnri.evaluation.edits.figures import draw
    except ModuleNotFoundError:
        drawn = False
    else:
        figures = {table.group: draw(table, folder) for table in tables}
    return edits_report.markdown(tables, figures), edits_report.summary(tables), drawn
