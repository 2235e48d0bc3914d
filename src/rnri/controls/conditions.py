"""Prompts as the network reads them, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from rnri.models.base import Condition


def joined(parts: Sequence[Condition]) -> Condition:
    """One condition with the rows of all."""
    prompts = tuple(prompt for part in parts for prompt in part.prompts)
    return parts[0] if len(parts) == 1 else replace(_combined(parts, torch.cat), prompts=prompts)


def between(one: Condition, other: Condition, share: float) -> Condition:
    """one + share·(other − one), row by row, in all that the network reads; the prompts are those of ``other``."""
    return _combined([other, one], lambda pair: torch.lerp(pair[1].expand_as(pair[0]), pair[0], share))


def _combined(parts: Sequence[Condition], rule: Callable[[list[Tensor]], Tensor]) -> Condition:
    """Every tensor of the parts by a rule, whatever a family keeps beside the tokens."""
    changed: dict[str, object] = {}
    for each in fields(parts[0]):
        values = [getattr(part, each.name) for part in parts]
        if isinstance(values[0], Tensor):
            changed[each.name] = rule(values)
        elif isinstance(values[0], Mapping):
            changed[each.name] = {key: rule([value[key] for value in values]) for key in values[0]}
    return replace(parts[0], **changed)  # type: ignore[arg-type]
