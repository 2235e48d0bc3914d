"""What of a prompt does not reach the network: tokens beyond its length, words outside its vocabulary."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from rnri.models.base import warn_of_prompt


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
