"""Leakage: the attributes that an edit should leave, as the reader reads them."""

from __future__ import annotations

from collections.abc import Sequence

from rnri.metrics.metric import Metric, of_attributes
from rnri.scenes.attributes import NONE, Attribute


def leakage(read: Sequence[Attribute], before: Sequence[Attribute], after: Sequence[Attribute]) -> float | None:
    """The share of the attributes that should stay as they are that are read otherwise: lower is better.

    All three are lists of :func:`rnri.scenes.attributes.attributes`. At places without an item only ``present`` counts.
    Undefined if everything should change. What the reader misreads counts as leaked.

    >>> before = after = [Attribute("sky", "day")]
    >>> leakage(before, before, after), leakage([Attribute("sky", "night")], before, after)
    (0.0, 1.0)
    """
    rows = zip(read, before, after, strict=True)
    wrong = [seen != wanted for seen, was, wanted in rows if was == wanted and wanted.value != NONE]
    return sum(wrong) / len(wrong) if wrong else None


LEAKAGE = Metric(
    "share of the attributes that should stay, read otherwise", "lower", of_attributes(leakage), "%", power=2
)
