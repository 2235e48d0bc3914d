"""A model that is watched: a function is called before each call of its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from rnri_core.sampling.steps import Denoiser
from torch import Tensor

from rnri.models import Condition, Model

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
