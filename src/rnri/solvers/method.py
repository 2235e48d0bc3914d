"""What every built-in solver shares: options that are typed, bounded and described once, for all who show them."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from rnri.driver import Solver
from rnri.solvers.sources import Source


def option(default: Any, about: str, *, low: float = -math.inf, high: float = math.inf) -> Any:
    """A field of a solver: its default, one line about it, and the closed range it must lie in."""
    return field(default=default, metadata={"about": about, "low": low, "high": high})


@dataclass(frozen=True)
class Option:
    """One field of a solver, as commands, pages and tables show it; ``choices`` is empty unless it is a choice."""

    name: str
    kind: type
    default: object
    about: str
    low: float
    high: float
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> None:
        """Raise ``ValueError`` unless ``value`` is of the right type and in range."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name}={value!r} is not one of {', '.join(self.choices)}")
            return
        accepted = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.kind is not bool):
            raise ValueError(f"{self.name}={value!r} is not a {self.kind.__name__}")
        if isinstance(value, (int, float)) and not self.low <= value <= self.high:
            raise ValueError(f"{self.name}={value!r} is outside {self.low:g} to {self.high:g}")

    def parse(self, text: str) -> object:
        """The value that ``text`` spells, checked."""
        if self.kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            value: object = self.kind(text) if self.kind in (int, float) else text
        except ValueError:
            value = text
        self.check(value)
        return value


class Method(Solver):
    """Base of the built-in solvers: a frozen dataclass whose fields are declared with :func:`option`.

    ``source`` is the publication it comes from, ``passage`` where in it.
    """

    source: ClassVar[Source]
    passage: ClassVar[str]

    def __post_init__(self) -> None:
        for each in self.options():
            each.check(getattr(self, each.name))

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """The fields of this solver in order, with defaults and ranges."""
        hints = get_type_hints(cls)
        return tuple(_describe(each, hints[each.name]) for each in fields(cls) if each.metadata)  # type: ignore[arg-type]


def _describe(each: Field[Any], hint: Any) -> Option:
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    kind = str if choices else hint
    return Option(each.name, kind, each.default, choices=choices, **each.metadata)
