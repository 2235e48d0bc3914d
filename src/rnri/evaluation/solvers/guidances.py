"""How hard edits follow their prompt, chosen for each method on edits that are not reported.

Inversion has no guidance, so one that is right for a method's edits changes nothing of its fidelity.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rnri_core.errors import RnriError

from rnri.evaluation.records import Line
from rnri.evaluation.solvers.settings import Own, method, scores
from rnri.evaluation.tables import digits, ruled

CHOICE = "guidance.json"


@dataclass(frozen=True)
class Tuned:
    """The best ``guidance`` of a method on a model's ``steps``, by its mean edit error over so many ``pictures``.

    ``tried`` has the errors of all that were tried, on the same pictures and numbers of calls.
    """

    model: str
    fingerprint: str
    steps: int
    method: str
    guidance: float
    pictures: int
    tried: Sequence[tuple[float, float]]


def choose(lines: Iterable[Line]) -> list[Tuned]:
    """The choice for each method of which the ``tuning`` split has more than one guidance; of equals the lowest."""
    found: dict[tuple[str, str, int, str], dict[float, dict[int, list[Line]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for line in lines:
        told = line.configuration
        if told["split"] == "tuning":
            key = (told["model"], told["fingerprint"], told["steps"], method(told))
            found[key][told["guidance"]][told["calls"]].append(line)
    chosen = []
    for key, guidances in sorted(found.items()):
        errors = {
            guidance: {
                (image, calls): error
                for calls, some in by.items()
                for image, error in scores(some, "edit_rmse").items()
            }
            for guidance, by in sorted(guidances.items())
        }
        common = set.intersection(*(set(each) for each in errors.values()))
        if len(errors) > 1 and common:
            tried = [(guidance, float(np.mean([each[pair] for pair in common]))) for guidance, each in errors.items()]
            best = min(tried, key=lambda pair: pair[1])[0]
            chosen.append(Tuned(*key, best, len({image for image, _ in common}), tried))
    return chosen


def own(chosen: Sequence[Tuned]) -> Own:
    """The guidance chosen for a configuration that is not there to choose by.

    >>> tuned = own([Tuned("scenes", "f", 20, "auto", 2.0, 50, [(1.0, 0.3), (2.0, 0.2)])])
    >>> of = {"model": "scenes", "fingerprint": "f", "steps": 20, "way": "preset", "correct": False, "split": "heldout"}
    >>> tuned(of | {"solver": "auto"}), tuned(of | {"solver": "faithful"})
    (2.0, None)
    """
    known = {(each.model, each.fingerprint, each.steps, each.method): each.guidance for each in chosen}

    def of(told: Mapping[str, Any]) -> float | None:
        if told["split"] == "tuning":
            return None
        return known.get((told["model"], told["fingerprint"], told["steps"], method(told)))

    return of


def table(chosen: Sequence[Tuned]) -> str:
    """What was chosen, and from what."""
    rows = [["model", "steps", "method", "best guidance", "n", "edit error at each guidance tried", ""]]
    for each in chosen:
        tried = ", ".join(f"{guidance:g}: {digits(error)}" for guidance, error in each.tried)
        edge = "at the end of what was tried" if each.guidance in (each.tried[0][0], each.tried[-1][0]) else ""
        rows.append([each.model, str(each.steps), each.method, f"{each.guidance:g}", str(each.pictures), tried, edge])
    return ruled(rows)


def write(folder: Path, chosen: Sequence[Tuned]) -> None:
    """Leave a choice in a folder."""
    unfinished = folder / f".{CHOICE}.tmp"
    unfinished.write_text(json.dumps([asdict(each) for each in chosen], indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, folder / CHOICE)


def read(folder: Path) -> list[Tuned]:
    """The choice that was left in a folder; ``ValueError`` with the command that makes one if there is none."""
    how = "make one with 'rnri bench convergence --split tuning --guidance 1 2 3 -o DIR'"
    try:
        found = [Tuned(**each) for each in json.loads((folder / CHOICE).read_text(encoding="utf-8"))]
    except OSError as error:
        raise RnriError(f"{folder} holds no {CHOICE}", hint=f"{how}") from error
    except (ValueError, TypeError) as error:
        raise RnriError(f"{folder / CHOICE} is damaged", hint=f"{how}") from error
    return found
