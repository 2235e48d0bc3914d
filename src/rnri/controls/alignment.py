"""Alignment of the words of two prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from torch import Tensor

from rnri.models.attention import TokenSpans


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the tokens of a source and a target prompt correspond.

    Attributes:
        mapping: (source positions, target positions), the share of each source token's attention that a target token
            takes over. Rows of words in it sum to 1, and columns are 0 where the target has a new word.
        removed: source positions of the words that are only in the source prompt, or replaced.
        added: target positions of the words that are only in the target prompt, or replace others.
    """

    mapping: Tensor
    removed: tuple[int, ...]
    added: tuple[int, ...]


def align(source: TokenSpans, target: TokenSpans, length: int, *, replace: bool) -> Alignment:
    """Match the words of two prompts of ``length`` tokens, in order; with ``replace``, also a word and its successor.

    A word replaced by another is mapped onto it where ``replace`` is true, and new otherwise. Where they have different
    numbers of tokens, each of n target tokens takes 1/n of the attention of all the source's. Beginning, end and
    padding are mapped onto each other.

    >>> source, target = (("red", (1,)), ("ball", (2,))), (("blue", (1,)), ("ball", (2,)), ("now", (3,)))
    >>> alignment = align(source, target, 5, replace=True)
    >>> alignment.removed, alignment.added, alignment.mapping.argmax(0).tolist()
    ((1,), (1, 3), [0, 1, 2, 0, 3])
    """
    mapping = torch.zeros(length, length)
    mapping[0, 0] = 1
    removed: list[int] = []
    added: list[int] = []
    matcher = SequenceMatcher(None, [word for word, _ in source], [word for word, _ in target], autojunk=False)
    for change, i, i_end, j, j_end in matcher.get_opcodes():
        if change != "equal":
            removed += _positions(source[i:i_end])
            added += _positions(target[j:j_end])
        if change == "equal" or (change == "replace" and replace):
            for (_, theirs), (_, ours) in _paired(source[i:i_end], target[j:j_end]):
                for n, position in enumerate(ours):
                    if len(theirs) == len(ours):
                        mapping[theirs[n], position] = 1
                    else:
                        mapping[list(theirs), position] = 1 / len(ours)
    theirs_end, ours_end = len(_positions(source)) + 1, len(_positions(target)) + 1
    for position in range(ours_end, length):
        mapping[min(theirs_end + position - ours_end, length - 1), position] = 1
    return Alignment(mapping, tuple(removed), tuple(added))


def transferred(source: Tensor, target: Tensor, mapping: Tensor) -> Tensor:
    """Cross attention of the targets with that of the source transferred to words in common.

    A' = A_source·M, and the target's own attention where the column of M is 0. Prompt-to-Prompt, Section 3.2.

    Args:
        source: A_source, probabilities (1, heads, cells, positions).
        target: probabilities (P, heads, cells, positions).
        mapping: M, (P, source positions, target positions); see :class:`Alignment`.

    >>> theirs, ours = torch.tensor([[[[0.75, 0.25]]]]), torch.tensor([[[[0.5, 0.5]]]])
    >>> transferred(theirs, ours, torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    tensor([[[[0.7500, 0.5000]]]])
    """
    shares = mapping.to(source)[:, None]
    return source @ shares + target * (shares == 0).all(2, keepdim=True)


def _paired(
    source: TokenSpans, target: TokenSpans
) -> list[tuple[tuple[str, tuple[int, ...]], tuple[str, tuple[int, ...]]]]:
    """TokenSpans one to one; where one prompt has more, its last ones go together."""
    count = min(len(source), len(target))
    pairs = list(zip(source[:count], target[:count], strict=True))
    if len(source) > count:
        pairs[-1] = (("", tuple(_positions(source[count - 1 :]))), target[-1])
    return pairs


def _positions(words: Sequence[tuple[str, tuple[int, ...]]]) -> list[int]:
    return [position for _, positions in words for position in positions]
