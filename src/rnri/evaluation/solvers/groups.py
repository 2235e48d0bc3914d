"""Measurements of solvers by group and method, for comparisons."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rnri.evaluation.records import Key
from rnri.evaluation.solvers.convergence import ConvergenceLine, InversionMeasurement, SolverSetting

TunedGuidance = Callable[[SolverSetting], float | None]
"""The guidance that was tuned for the method of a setting, if one was."""


class SolverGroup(NamedTuple):
    """What methods are compared within. Without a ``guidance`` each method has the one tuned for it."""

    model: str
    split: str
    guidance: float | None
    steps: int
    calls: int

    @classmethod
    def of(cls, setting: SolverSetting, tuned: TunedGuidance | None = None) -> SolverGroup:
        """The group that a setting belongs to."""
        own = tuned is not None and tuned(setting) == setting.guidance
        guidance = None if own else setting.guidance
        return cls(setting.model, setting.split, guidance, setting.steps, setting.calls)

    @property
    def guidance_label(self) -> str:
        """The guidance in words.

        >>> SolverGroup("scenes", "heldout", 1.0, 20, 40).guidance_label
        'guidance 1'
        >>> SolverGroup("scenes", "heldout", None, 20, 40).guidance_label
        'the guidance tuned for each method'
        """
        return "the guidance tuned for each method" if self.guidance is None else f"guidance {self.guidance:g}"

    @property
    def cells(self) -> list[str]:
        """Its fields, for a table."""
        guidance = "tuned" if self.guidance is None else f"{self.guidance:g}"
        return [self.model, self.split, guidance, str(self.steps), str(self.calls)]


Groups = dict[SolverGroup, dict[str, list[ConvergenceLine]]]
"""Lines by group and method."""


def grouped(lines: Iterable[ConvergenceLine], tuned: TunedGuidance | None = None) -> Groups:
    """Lines by group and method, groups in order."""
    groups: Groups = defaultdict(lambda: defaultdict(list))
    for line in lines:
        groups[SolverGroup.of(line.configuration, tuned)][line.configuration.method].append(line)
    order = sorted(
        groups, key=lambda each: each._replace(guidance=math.inf if each.guidance is None else each.guidance)
    )
    return {group: dict(groups[group]) for group in order}


def scores(lines: Sequence[ConvergenceLine], value: Callable[[InversionMeasurement], float]) -> dict[Key, float]:
    """A measured value of each picture, a mean where the picture was measured more than once."""
    values: dict[Key, list[float]] = defaultdict(list)
    for line in lines:
        values[line.image].append(value(line.measurement))
    return {key: float(np.mean(some)) for key, some in values.items()}


def shown_steps(steps: int) -> list[int]:
    """The steps that tables and figures show, counted from the image outwards: all of up to four, else some.

    >>> shown_steps(4), shown_steps(20)
    ([1, 2, 3, 4], [1, 3, 7, 20])
    """
    return list(range(1, steps + 1)) if steps <= 4 else [round(place) for place in np.geomspace(1, steps, 4)]


def step_label(step: int, steps: int) -> str:
    """A step by its number from the image outwards, and its neighbour at either end.

    >>> step_label(1, 4), step_label(2, 4)
    ('step 1 (next to the image)', 'step 2')
    """
    ends = {1: " (next to the image)", steps: " (next to the noise)"}
    return f"step {step}{ends.get(step, '')}"
