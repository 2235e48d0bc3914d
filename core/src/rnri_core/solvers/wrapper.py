"""What is laid over another solver: it passes the question on, and changes when or what is answered."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core.solvers.base import Method


@dataclass(frozen=True)
class Wrapper(Method):
    """Base of the wrappers: a method around another, ``inner``, whose sources and passage are its own.

    Written after what it wraps, ``"gnri+polish:steps=2"``; several from the inside out.
    """

    inner: Method

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("source", "passage", "further"):
            object.__setattr__(self, name, getattr(self.inner, name))
        object.__setattr__(self, "max_iter", self.most())

    def iterations(self, t: float | None) -> int:
        """Those of what it is laid over."""
        return self.inner.iterations(t)

    def most(self) -> int | None:
        """How many iterations it takes by definition, ``None`` for as many as it is given."""
        return self.inner.max_iter
