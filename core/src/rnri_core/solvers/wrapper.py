"""The base of wrappers: solvers around another solver."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core.solvers.base import Method


@dataclass(frozen=True)
class Wrapper(Method):
    """A solver around another one, ``inner``, whose publication it cites.

    In a spec it follows the solver that it wraps, ``"gnri+polish:steps=2"``; several from the inside out.
    """

    inner: Method

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("source", "passage", "further"):
            object.__setattr__(self, name, getattr(self.inner, name))
        object.__setattr__(self, "max_iter", self.most())

    def iterations(self, t: float | None) -> int:
        """Those of the inner solver."""
        return self.inner.iterations(t)

    def most(self) -> int | None:
        """Iterations that it takes by definition, ``None`` for as many as requested."""
        return self.inner.max_iter
