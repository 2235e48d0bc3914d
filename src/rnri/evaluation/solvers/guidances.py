"""Guidance scales of edits, chosen for each method on edits that are not reported.

The inversion has no guidance, so a scale that suits a method's edits changes nothing of its fidelity.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rnri.evaluation.records import read_choice, write_whole
from rnri.evaluation.solvers.convergence import ConvergenceLine, SolverSetting
from rnri.evaluation.solvers.groups import TunedGuidance, scores
from rnri.evaluation.tables import digits, ruled

CHOICE = "guidance.json"


@dataclass(frozen=True)
class Tuned:
    """The best ``guidance`` of a method on a model's ``steps``, by its mean edit error over so many ``pictures``.

    ``tried`` has the errors of all scales that were tried, on the same pictures and numbers of calls.
    """

    model: str
    fingerprint: str
    steps: int
    method: str
    guidance: float
    pictures: int
    tried: tuple[tuple[float, float], ...]


def choose(lines: Iterable[ConvergenceLine]) -> list[Tuned]:
    """The choice for each method of which the ``tuning`` split has more than one guidance; of equals the lowest."""
    groups: dict[tuple[str, str, int, str], dict[float, dict[int, list[ConvergenceLine]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for line in lines:
        setting = line.configuration
        if setting.split == "tuning":
            key = (setting.model, setting.fingerprint, setting.steps, setting.method)
            groups[key][setting.guidance][setting.calls].append(line)
    chosen = []
    for key, guidances in sorted(groups.items()):
        errors = {
            guidance: {
                (image, calls): error
                for calls, some in by.items()
                for image, error in scores(some, lambda each: each.edit_rmse).items()
            }
            for guidance, by in sorted(guidances.items())
        }
        common = set.intersection(*(set(each) for each in errors.values()))
        if len(errors) > 1 and common:
            tried = tuple(
                (guidance, float(np.mean([each[pair] for pair in common]))) for guidance, each in errors.items()
            )
            best = min(tried, key=lambda pair: pair[1])[0]
            chosen.append(Tuned(*key, best, len({image for image, _ in common}), tried))
    return chosen


def tuned_guidance(chosen: Sequence[Tuned]) -> TunedGuidance:
    """The guidance chosen for a setting, none for settings of the split that it was chosen on.

    >>> from dataclasses import replace
    >>> guidance = tuned_guidance([Tuned("scenes", "f", 20, "auto", 2.0, 50, ((1.0, 0.3), (2.0, 0.2)))])
    >>> setting = SolverSetting("scenes", "f", 20, 40, "auto", "preset", False, 1.0, "heldout", 0)
    >>> guidance(setting), guidance(replace(setting, solver="faithful"))
    (2.0, None)
    """
    known = {(each.model, each.fingerprint, each.steps, each.method): each.guidance for each in chosen}

    def guidance(setting: SolverSetting) -> float | None:
        if setting.split == "tuning":
            return None
        return known.get((setting.model, setting.fingerprint, setting.steps, setting.method))

    return guidance


def table(chosen: Sequence[Tuned]) -> str:
    """The chosen scales, and those they were chosen from."""
    rows = [["model", "steps", "method", "best guidance", "n", "edit error at each guidance tried", ""]]
    for each in chosen:
        tried = ", ".join(f"{guidance:g}: {digits(error)}" for guidance, error in each.tried)
        edge = "at the end of what was tried" if each.guidance in (each.tried[0][0], each.tried[-1][0]) else ""
        rows.append([each.model, str(each.steps), each.method, f"{each.guidance:g}", str(each.pictures), tried, edge])
    return ruled(rows)


def write(folder: Path, chosen: Sequence[Tuned]) -> None:
    """Write a choice into a folder."""
    write_whole(folder / CHOICE, json.dumps([asdict(each) for each in chosen], indent=1) + "\n")


def read(folder: Path) -> list[Tuned]:
    """The choice in a folder; ``RnriError`` with the command that makes one where there is none."""
    hint = "make one with 'rnri bench convergence --split tuning --guidance 1 2 3 -o DIR'"
    return read_choice(list[Tuned], folder / CHOICE, hint)
