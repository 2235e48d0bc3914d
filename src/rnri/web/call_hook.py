"""A model with a hook: a function that is called before each call of its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from rnri_core.sampling.steps import Denoiser
from torch import Tensor

from rnri.models import Condition, Model

CallHook = Callable[[int], None]
"""Called before each network call with the number of latents in it; an exception that it raises ends the work."""


@dataclass(frozen=True)
class _Hooked:
    """A model with all attributes of another, and `hook` before each network call."""

    inner: Model
    hook: CallHook

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoiser:
        """The network with its prompts bound."""
        network = self.inner.denoiser(condition, guidance)

        def m(z: Tensor, t: float) -> Tensor:
            self.hook(len(z))
            return network(z, t)

        return m


def with_call_hook(model: Model, hook: CallHook) -> Model:
    """The model with a hook before each of its network calls.

    >>> import torch
    >>> from rnri import models
    >>> model = models.load("scenes-turbo", device="cpu")
    >>> calls = []
    >>> m = with_call_hook(model, calls.append).denoiser(model.embed(["a red metal ball on sand"]))
    >>> z = m(model.encode(torch.zeros(1, 3, 128, 128)), 999.0)
    >>> calls
    [1]
    """
    return cast(Model, _Hooked(model, hook))
