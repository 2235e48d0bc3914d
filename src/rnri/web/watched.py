"""A model under observation: what it is about to do, and what it says it cannot do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from rnri.models import Condition, Model, PromptWarning
from rnri.schedule import Denoiser

Look = Callable[[int], None]
"""Called before each network call with the number of latents it is for; what it raises ends the work."""


@dataclass(frozen=True)
class _Watched:
    """Everything of a model, with `look` before each network call."""

    inner: Model
    look: Look

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoiser:
        """The network with its prompts bound."""
        network = self.inner.denoiser(condition, guidance)

        def m(z: Tensor, t: float) -> Tensor:
            self.look(len(z))
            return network(z, t)

        return m


def watched(model: Model, look: Look) -> Model:
    """The model, asked before each of its network calls.

    >>> import torch
    >>> from rnri import models
    >>> model = models.load("scenes-turbo", device="cpu")
    >>> calls = []
    >>> m = watched(model, calls.append).denoiser(model.embed(["a red metal ball on sand"]))
    >>> z = m(model.encode(torch.zeros(1, 3, 128, 128)), 999.0)
    >>> calls
    [1]
    """
    return cast(Model, _Watched(model, look))


@contextmanager
def heard() -> Iterator[list[str]]:
    """What models say they cannot read of prompts, in a list that is filled when the block ends.

    The filters of warnings belong to the process: one thread at a time may do this.
    """
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PromptWarning)
        yield said
    for each in caught:
        if issubclass(each.category, PromptWarning):
            said.append(str(each.message))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
