"""Concatenation and interpolation of conditionings; shorter ones are padded with zeros, which their masks exclude."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from rnri.models.base import Condition


def joined(parts: Sequence[Condition]) -> Condition:
    """The conditionings' rows as one batch, in order.

    >>> long, short = (Condition((name,), torch.ones(1, length, 8)) for name, length in (("a b", 2), ("a", 1)))
    >>> joined([long, short]).tokens.shape
    torch.Size([2, 2, 8])
    """
    prompts = tuple(prompt for part in parts for prompt in part.prompts)
    return parts[0] if len(parts) == 1 else replace(_combined(parts, torch.cat), prompts=prompts)


def between(one: Condition, other: Condition, share: float) -> Condition:
    """one + share·(other − one), row by row, for every tensor of a conditioning; prompts are those of ``other``.

    A token is attended to if either mask has it; at share 0 and 1 all is that end's.

    Args:
        one: one row, or as many as ``other``.
        other: P rows.
        share: 0 is ``one``, 1 is ``other``; beyond, it extrapolates.
    """

    def rule(pair: list[Tensor]) -> Tensor:
        end, begin = pair[0], pair[1].expand_as(pair[0])
        if end.is_floating_point():
            return torch.lerp(begin, end, share)
        ends = {0.0: begin, 1.0: end}
        return ends[share] if share in ends else torch.maximum(begin, end)

    return _combined([other, one], rule)


def _combined(parts: Sequence[Condition], rule: Callable[[list[Tensor]], Tensor]) -> Condition:
    """The parts combined tensor by tensor by a rule, padded to one length, with all that a family has beside tokens."""
    changed: dict[str, object] = {}
    for each in fields(parts[0]):
        values = [getattr(part, each.name) for part in parts]
        if isinstance(values[0], Tensor):
            changed[each.name] = rule(_padded(values))
        elif isinstance(values[0], Mapping):
            changed[each.name] = {key: rule(_padded([value[key] for value in values])) for key in values[0]}
    return replace(parts[0], **changed)  # type: ignore[arg-type]


def _padded(tensors: list[Tensor]) -> list[Tensor]:
    """(P, length, …) as long as the longest."""
    length = max(each.shape[1] for each in tensors)
    return [pad(each, (0, 0) * (each.ndim - 2) + (0, length - each.shape[1])) for each in tensors]
