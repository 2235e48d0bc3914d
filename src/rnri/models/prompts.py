"""What of a prompt does not reach the network: tokens beyond its length, words outside its vocabulary."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class PromptWarning(UserWarning):
    """Part of a prompt does not reach the network: it is too long, or holds words outside the model's vocabulary."""


_COLLECTED: ContextVar[list[str] | None] = ContextVar("prompt warnings of this thread", default=None)


def warn_of_prompt(message: str) -> None:
    """Issue a `PromptWarning` where a model's `embed` is called, or add it to what this thread collects."""
    collected = _COLLECTED.get()
    if collected is None:
        warnings.warn(message, PromptWarning, stacklevel=4)
    else:
        collected.append(message)


@contextmanager
def prompt_warnings() -> Iterator[list[str]]:
    """Collect this thread's prompt warnings in a list instead of issuing them.

    `warnings.catch_warnings` would collect those of all threads.

    >>> with prompt_warnings() as collected:
    ...     warn_of_prompt("the prompt is too long")
    >>> collected
    ['the prompt is too long']
    """
    collected: list[str] = []
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)


def warn_of_unread(prompt: str, tokenizer: Any, length: int, model: str, words: Collection[str]) -> None:
    """Warn (`PromptWarning`) where a prompt has over `length` tokens, or words that are not in `words`.

    Without a tokenizer nothing is checked, without `words` only the length.
    """
    if tokenizer is None:
        return
    ids = tokenizer(prompt, verbose=False).input_ids
    if len(ids) > length:
        most, cut = length - tokenizer.num_special_tokens_to_add(), tokenizer.decode(ids[length - 1 : -1])
        warn_of_prompt(f"the prompt is longer than the {most} tokens {model} reads; this was cut: {cut!r}")
    unknown = [word for word in dict.fromkeys(re.findall(r"[^\W\d_]+", prompt.lower())) if word not in words]
    if words and unknown:
        warn_of_prompt(f"{model} does not know {', '.join(unknown)}; it knows {', '.join(sorted(words))}")
