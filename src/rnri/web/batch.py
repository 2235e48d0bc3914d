"""Inversions in one batch: when they can share network calls, and the memory they take."""

from __future__ import annotations

from rnri_core.inversion.inversion import Inversion
from rnri_core.sampling.steps import Schedule
from rnri_core.sampling.strength import last

Table = tuple[tuple[float | bytes, ...], ...]
"""A schedule in values that compare: equal tables sample equally."""


def table(schedule: Schedule) -> Table:
    """The coefficients of a schedule in values that can be compared and hashed."""
    return tuple(
        (step.t, step.a, step.b, step.scale, b"" if step.c is None else step.c.cpu().numpy().tobytes())
        for step in schedule
    )


def ending(source: Inversion, strength: float) -> Inversion:
    """The last ⌊steps · strength⌋ steps of an inversion: the inversion at this strength, without an evaluation.

    An inversion proceeds from the image outwards, so its first steps are those of a weaker one. Raises RnriError for a
    strength that leaves no step, or above 1.
    """
    return source.last(len(last(source.schedule, strength)))


def weight(source: Inversion) -> int:
    """Bytes of an inversion; storage that tensors share is counted once."""
    tensors = [*source.latents, *(source.noise_maps or ())]
    tensors += [step.c for step in source.schedule if step.c is not None]
    for solution in source.solutions:
        tensors += [solution.z, solution.residual, solution.residuals, solution.codes]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
