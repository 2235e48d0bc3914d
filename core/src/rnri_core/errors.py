"""Errors of rnri, with the problem, the cure and the field as attributes."""

from __future__ import annotations


class RnriError(ValueError):
    """Input, or a state, that rnri refuses; ``str()`` of it is one line, ``problem: hint``.

    ``problem`` names the value that is refused, ``hint`` the cure, and ``field`` the argument, option or key of a
    request that holds the value (``None`` where no single one does). Command line and server read these attributes.

    >>> error = RnriError("steps=0 is out of range", hint="give 1 or more", field="steps")
    >>> print(error)
    steps=0 is out of range: give 1 or more
    >>> error.hint, error.field
    ('give 1 or more', 'steps')
    """

    def __init__(self, problem: str, *, hint: str = "", field: str | None = None) -> None:
        super().__init__(f"{problem}: {hint}" if hint else problem)
        self.problem, self.hint, self.field = problem, hint, field


class RnriTypeError(RnriError, TypeError):
    """An object of the wrong type, or a model that lacks an ability; a ``TypeError`` as well until 0.3."""


class RenamedWarning(DeprecationWarning):
    """A name of the previous minor version was used; it goes in the next one."""
