"""Strength: the share of the sampling steps that an inversion or an edit takes."""

from __future__ import annotations

import math

from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Schedule


def strength_steps(strength: float, count: int, *, least: int = 1) -> int:
    """⌊count·strength⌋ steps, as image-to-image pipelines of diffusers have it, but ``least`` or more.

    Args:
        strength: 0 to 1; products within 1e-9 of a whole number count as that number.
        count: steps of the whole schedule.
        least: the fewest steps, 0 where a method allows an edit of none.

    >>> strength_steps(0.58, 50), strength_steps(0.1, 4), strength_steps(0.1, 4, least=0)
    (29, 1, 0)
    """
    return max(least, math.floor(count * strength + 1e-9))


def last(schedule: Schedule, strength: float) -> Schedule:
    """The last ⌊K·strength⌋ of K steps.

    Raises:
        RnriError: where that is no step, or more than all.

    >>> last(tuple("abcd"), 0.6)
    ('c', 'd')
    """
    count = len(schedule)
    if not 1 <= count * strength <= count:
        raise RnriError(
            f"strength={strength} is out of range",
            hint=f"give {1 / count:.2g} to 1 to keep 1 to {count} steps",
            field="strength",
        )
    return schedule[-strength_steps(strength, count) :]
