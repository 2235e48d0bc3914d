"""The base of registered solvers."""

from __future__ import annotations

from typing import ClassVar

from rnri_core.registry import Option, Registered, option
from rnri_core.solvers.solve import Solver

__all__ = ["Method", "Option", "option"]


class Method(Registered, Solver):
    """Base of registered solvers: a frozen dataclass whose options are fields declared with :func:`option`.

    Attributes:
        source, passage, further: the publication, the passage in it, and others to cite.
        converges: the options with which it converges to the root of any contraction, ``""`` for the defaults, or
            ``None`` if its answer is approximate by definition. The contract tests take it from here.
    """

    converges: ClassVar[str | None] = ""
