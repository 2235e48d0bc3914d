"""Which word of one prompt is which of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from torch import Tensor

from rnri.controls.base import Words


@dataclass(frozen=True, eq=False)
class Alignment:
    """Two prompts side by side, as positions of tokens.

    ``mapping`` (source positions, target positions) tells of every target token how the source tokens that stand for
    it share in it: columns sum to 1, or to 0 where the target says something new. ``removed`` and ``added`` are the
    positions of words that are in one prompt only, those replaced included.
    """

    mapping: Tensor
    removed: tuple[int, ...]
    added: tuple[int, ...]


def align(source: Words, target: Words, length: int, *, replace: bool) -> Alignment:
    """Match the words of two prompts of ``length`` tokens, in order; with ``replace``, also a word and its successor.

    A word replaced by another is mapped onto it where ``replace`` is true, and new otherwise. Where they have different
    numbers of tokens, the attention of all is shared. Beginning, end and padding are mapped onto each other.

    >>> source, target = (("red", (1,)), ("ball", (2,))), (("blue", (1,)), ("ball", (2,)), ("now", (3,)))
    >>> found = align(source, target, 5, replace=True)
    >>> found.removed, found.added, found.mapping.argmax(0).tolist()
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
                    same = theirs[n : n + 1] if len(theirs) == len(ours) else theirs
                    mapping[list(same), position] = 1 / len(same)
    theirs_end, ours_end = len(_positions(source)) + 1, len(_positions(target)) + 1
    for position in range(ours_end, length):
        mapping[min(theirs_end + position - ours_end, length - 1), position] = 1
    return Alignment(mapping, tuple(removed), tuple(added))


def _paired(source: Words, target: Words) -> list[tuple[tuple[str, tuple[int, ...]], tuple[str, tuple[int, ...]]]]:
    """Words one to one; where one prompt has more, its last ones go together."""
    count = min(len(source), len(target))
    pairs = list(zip(source[:count], target[:count], strict=True))
    if len(source) > count:
        pairs[-1] = (("", tuple(_positions(source[count - 1 :]))), target[-1])
    return pairs


def _positions(words: Sequence[tuple[str, tuple[int, ...]]]) -> list[int]:
    return [position for _, positions in words for position in positions]
