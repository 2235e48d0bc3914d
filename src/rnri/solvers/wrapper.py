"""What is laid over another solver: it passes the question on, and changes when or what is answered."""

from __future__ import annotations

from dataclasses import dataclass

from rnri.solvers.method import Method


@dataclass(frozen=True)
class Wrapper(Method):
    """Base of the wrappers: a method around another, ``inner``, whose source and passage are its own.

    Written after what it wraps, ``"gnri+polish:steps=2"``; several from the inside out.
    """

    inner: Method

    def __post_init__(self) -> None:
        super().__post_init__()
        taken = {"source": self.inner.source, "passage": self.inner.passage, "max_iter": self.most()}
        for name, value in taken.items():
            object.__setattr__(self, name, value)

    def most(self) -> int | None:
        """How many iterations it takes by definition, ``None`` for as many as it is given."""
        return self.inner.max_iter
