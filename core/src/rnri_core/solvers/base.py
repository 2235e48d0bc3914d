"""What every built-in solver shares."""

from __future__ import annotations

from rnri_core.registry import Option, Registered, option
from rnri_core.solvers.solve import Solver

__all__ = ["Method", "Option", "option"]


class Method(Registered, Solver):
    """Base of the built-in solvers: a frozen dataclass whose fields are declared with :func:`option`."""
