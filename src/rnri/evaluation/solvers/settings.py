"""What is compared with what: measurements of solvers by setting and method."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnri.evaluation.records import Key, Line

Own = Callable[[Mapping[str, Any]], float | None]
"""The guidance that was tuned for the method of a configuration, if one was."""


class Setting(NamedTuple):
    """What is compared within: one table each. Without a ``guidance`` each method has the one tuned for it."""

    model: str
    split: str
    guidance: float | None
    steps: int
    calls: int

    @classmethod
    def of(cls, line: Line, own: Own | None = None) -> Setting:
        """The setting that a line belongs to."""
        made = cls(*(line.configuration[name] for name in cls._fields))
        return made._replace(guidance=None) if own and own(line.configuration) == made.guidance else made

    @property
    def at(self) -> str:
        """The guidance in words.

        >>> Setting("scenes", "heldout", 1.0, 20, 40).at, Setting("scenes", "heldout", None, 20, 40).at
        ('guidance 1', 'the guidance tuned for each method')
        """
        return "the guidance tuned for each method" if self.guidance is None else f"guidance {self.guidance:g}"

    @property
    def cells(self) -> list[str]:
        """Its fields, for a table."""
        guidance = "tuned" if self.guidance is None else f"{self.guidance:g}"
        return [self.model, self.split, guidance, str(self.steps), str(self.calls)]


def method(configuration: Mapping[str, Any]) -> str:
    """What a configuration is called: its solver, and what is not as published.

    >>> method({"solver": "chebyshev", "way": "informed", "correct": True})
    'chebyshev, informed, corrected'
    """
    way = [] if configuration["way"] in ("published", "preset") else [configuration["way"]]
    return ", ".join([configuration["solver"], *way, *["corrected"] * configuration["correct"]])


def grouped(lines: Iterable[Line], own: Own | None = None) -> dict[Setting, dict[str, list[Line]]]:
    """Lines by setting and method, settings in order."""
    found: dict[Setting, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[Setting.of(line, own)][method(line.configuration)].append(line)
    order = sorted(found, key=lambda each: each._replace(guidance=math.inf if each.guidance is None else each.guidance))
    return {setting: dict(found[setting]) for setting in order}


def scores(lines: Sequence[Line], name: str) -> dict[Key, float]:
    """A measurement of each picture, a mean where it was measured more than once; infinite where it was not finite."""
    found: dict[Key, list[float]] = defaultdict(list)
    for line in lines:
        value = line.measurement[name]
        found[line.image].append(math.inf if value is None else value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def looked_at(steps: int) -> list[int]:
    """The steps that tables and figures show, counted from the image outwards: all of up to four, else some.

    >>> looked_at(4), looked_at(20)
    ([1, 2, 3, 4], [1, 3, 7, 20])
    """
    return list(range(1, steps + 1)) if steps <= 4 else [round(place) for place in np.geomspace(1, steps, 4)]
