"""Settings of methods, chosen on edits of scenes that are neither trained on nor reported.

Each candidate is measured on the ``tuning`` split like any method (:mod:`rnri.evaluation.edits.run`). Of each method
the candidate with the best mean by one metric is kept. The choice is a file, which names the metric.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from rnri_core.errors import RnriError

from rnri.baselines import METHODS
from rnri.evaluation.edits.report import tables
from rnri.evaluation.edits.run import EDITS
from rnri.evaluation.records import read_choice, write_whole
from rnri.metrics import metric

CHOICE = "tuned.json"

GRIDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "sdedit": {"strength": ("0.25", "0.5", "0.75", "1.0")},
    "edit-friendly": {"strength": ("0.5", "0.75", "1.0"), "source_guidance": ("0.0", "1.0")},
    "turboedit": {"shift": ("0", "1"), "weight": ("1.0", "1.5", "2.0")},
    "direct-inversion": {"cross": ("0.0", "0.4", "0.8"), "layout": ("0.0", "0.3", "0.6")},
    "ledits++": {"strength": ("0.75", "1.0"), "scale": ("1.0", "1.5", "3.0")},
    "infedit": {"strength": ("0.5", "0.75", "1.0")},
    "rf-inversion": {"eta": ("0.5", "0.9"), "stop": ("0.25", "0.5")},
    "flowedit": {"strength": ("0.5", "0.75", "1.0")},
}
"""Values of the fields of methods, tried in all combinations; other methods, ours too, are tried as they are."""


@dataclass(frozen=True)
class Choice:
    """The spec chosen for each method, by the mean of the metric ``by`` over so many ``pictures`` of ``data``."""

    data: str
    model: str
    fingerprint: str
    pictures: int
    by: str
    methods: Mapping[str, str]

    @property
    def about(self) -> str:
        """How the settings were chosen, for a sentence."""
        return f"chosen by {self.by} on {self.pictures} {self.data}, weights {self.fingerprint[:12]}"

    def apply(self, methods: Sequence[str]) -> list[str]:
        """The methods with chosen settings in place of a name alone.

        >>> Choice("edits", "m", "f", 1, "psnr", {"inversion": "inversion:steps=3"}).apply(["inversion"])
        ['inversion:steps=3']
        """
        return [self.methods.get(spec, spec) for spec in methods]


def candidates(methods: Sequence[str] = ()) -> list[str]:
    """Every setting of :data:`GRIDS` of these methods, or of all; each other method as it is.

    >>> candidates(["infedit", "fireflow"])
    ['infedit:strength=0.5', 'infedit:strength=0.75', 'infedit:strength=1.0', 'fireflow']
    """
    specs = []
    for name in methods or METHODS:
        grid = GRIDS.get(name, {})
        for values in product(*grid.values()):
            settings = ",".join(f"{field}={value}" for field, value in zip(grid, values, strict=True))
            specs.append(f"{name}:{settings}" if settings else name)
    return specs


def check(by: str) -> None:
    """Raise ``ValueError`` unless settings can be chosen by this metric."""
    from rnri.evaluation.datasets.scenes import Scenes

    if by not in Scenes.metrics:
        raise RnriError(f"--by {by!r} is not measured on scenes", hint=f"use {', '.join(Scenes.metrics)}")


def choose(folder: Path, by: str) -> Choice:
    """Choose among the last set of edits that was measured in ``folder``, and write the choice there.

    Raises ``RnriError`` where no setting has a number for the metric.
    """
    table = tables(EDITS.read(folder))[-1]
    best: dict[str, tuple[float, str]] = {}
    for row in table.rows:
        name = row.method.partition(":")[0]
        if row.scores.get(by):
            score = metric(by).sign * row.mean(by).value
            if name not in best or score > best[name][0]:
                best[name] = (score, row.method)
    if not best:
        raise RnriError(f"nothing in {folder} has been measured by {by}", hint="use another metric")
    group = table.group
    chosen = Choice(
        data=group.data,
        model=group.model,
        fingerprint=group.fingerprint,
        pictures=len(table.common),
        by=by,
        methods={name: spec for name, (_, spec) in best.items()},
    )
    write_whole(folder / CHOICE, json.dumps(asdict(chosen), indent=1) + "\n")
    return chosen


def read(folder: Path) -> Choice:
    """The choice in a folder; ``RnriError`` with the command that makes one where there is none."""
    return read_choice(Choice, folder / CHOICE, f"make one with 'rnri bench tune -o {folder}'")
