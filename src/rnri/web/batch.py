"""Inversions side by side: which can be sampled in the same network calls, and the one that does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from rnri_core.inversion.inversion import Inversion
from rnri_core.sampling.steps import Schedule

from rnri.models.schedulers import last

Table = tuple[tuple[float | bytes, ...], ...]
"""A schedule as values that compare: equal tables sample equally."""


def table(schedule: Schedule) -> Table:
    """What the steps of a schedule do, in values that can be compared and hashed."""
    return tuple(
        (step.t, step.a, step.b, step.scale, b"" if step.c is None else step.c.cpu().numpy().tobytes())
        for step in schedule
    )


def ending(source: Inversion, strength: float) -> Inversion:
    """The last ⌊steps · strength⌋ steps of an inversion: what inverting at this strength gives, for no call at all.

    An inversion walks from the image outwards, so that its first steps are those of a weaker one. Raises ValueError
    for a strength that leaves no step, or above 1.
    """
    first = len(source.schedule) - len(last(source.schedule, strength))
    return replace(
        source,
        schedule=source.schedule[first:],
        latents=source.latents[first:],
        solutions=source.solutions[first:],
        noise_maps=None if source.noise_maps is None else source.noise_maps[first:],
    )


def joined(sources: Sequence[Inversion]) -> Inversion:
    """Inversions of one image each, with equal tables, as one of all images: to be sampled from, no more.

    How each was found is left out, and prompt, size and seed are those of the first.
    """
    first = sources[0]
    corrections = None
    if first.noise_maps is not None:
        corrections = tuple(
            torch.cat(maps) for maps in zip(*(source.noise_maps or () for source in sources), strict=True)
        )
    latents = tuple(torch.cat(ends) for ends in zip(*(source.latents for source in sources), strict=True))
    return replace(first, latents=latents, solutions=(), noise_maps=corrections)


def weight(source: Inversion) -> int:
    """Bytes an inversion takes: what it shares with itself is counted once."""
    tensors = [*source.latents, *(source.noise_maps or ())]
    for step, solution in zip(source.schedule, source.solutions, strict=True):
        tensors += [solution.z, solution.residual, solution.residuals, solution.codes]
        tensors += [] if step.c is None else [step.c]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
