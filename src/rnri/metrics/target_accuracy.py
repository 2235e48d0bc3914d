"""Target accuracy: the attributes that an edit should change, as the reader reads them."""

from __future__ import annotations

from collections.abc import Sequence

from rnri.metrics.metric import Metric, of_attributes
from rnri.scenes.attributes import NONE, Attribute


def target_accuracy(read: Sequence[Attribute], before: Sequence[Attribute], after: Sequence[Attribute]) -> float | None:
    """The share of the attributes that should change that are read as they should be: higher is better.

    All three are lists of :func:`rnri.scenes.attributes.attributes`. At places without an item only ``present``
    counts. Undefined if nothing should change.

    >>> before, after = [Attribute("sky", "day")], [Attribute("sky", "night")]
    >>> target_accuracy(after, before, after), target_accuracy(before, before, after)
    (1.0, 0.0)
    """
    rows = zip(read, before, after, strict=True)
    right = [seen == wanted for seen, was, wanted in rows if was != wanted and wanted.value != NONE]
    return sum(right) / len(right) if right else None


TARGET_ACCURACY = Metric(
    "share of the attributes that should change, read as asked", "higher", of_attributes(target_accuracy), "%", power=2
)
