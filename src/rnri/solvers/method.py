"""What every built-in solver shares."""

from __future__ import annotations

from rnri.driver import Solver
from rnri.registry import Option, Registered, option

__all__ = ["Method", "Option", "option"]


class Method(Registered, Solver):
    """Base of the built-in solvers: a frozen dataclass whose fields are declared with :func:`option`."""
