"""Registry of named components: typed options, ``name:option=value`` specs, citations, plugins, renamed names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Iterator, Mapping, MutableMapping
from dataclasses import Field, dataclass, field, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from rnri_core.errors import RenamedWarning, RnriError

RENAMED = {
    "depth": "start-step",
    "hold": "automatic-mask",
    "keep": "mask",
    "keep-difference": "diffedit-mask",
    "keep-words": "local-blend",
    "grow": "dilate",
    "soft": "blur",
    "looks": "maps",
    "fade": "attenuation",
    "inverting": "source_guidance",
    "resting": "source_guidance",
    "solver": "inverter",
    "budget": "iterations",
    "correct": "noise_maps",
    "start": "init",
    "predictor": "init",
}
"""Names of components and options of 0.1 → those of today; the old ones are accepted until 0.3."""

_CONFERENCES = ("CVPR", "ECCV", "ICCV", "ICLR", "ICML", "NeurIPS", "SIGGRAPH Asia")


@dataclass(frozen=True)
class Source:
    """A publication; ``str()`` of it is one line for tables, ``bibtex()`` an entry to cite.

    >>> print(Source("mann1953mean", "Mean Value Methods in Iteration", "Mann, W. Robert", "Proc. AMS", 1953))
    Mann, Proc. AMS 1953
    """

    key: str
    title: str
    authors: str
    venue: str
    year: int
    arxiv: str = ""

    def __str__(self) -> str:
        first, *rest = self.authors.split(" and ")
        return f"{first.split(',')[0]}{' et al.' if rest else ''}, {self.venue} {self.year}"

    def bibtex(self) -> str:
        kind, where = ("inproceedings", "booktitle") if self.venue in _CONFERENCES else ("article", "journal")
        entries = {"title": f"{{{self.title}}}", "author": self.authors, where: self.venue, "year": str(self.year)}
        if self.arxiv:
            entries |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in entries.items())
        return f"@{kind}{{{self.key},\n{body}\n}}"


def option(default: Any, about: str, *, low: float = -math.inf, high: float = math.inf) -> Any:
    """A field that can be set by name: its default, one line about it, and the closed range it must lie in."""
    return field(default=default, metadata={"about": about, "low": low, "high": high})


@dataclass(frozen=True)
class Option:
    """One such field, as commands, pages and tables show it; ``choices`` is empty unless it is a choice.

    ``kind`` is bool, int, float or str, or object for what is given as a file by name and as anything in Python. A
    default of None leaves the choice to what the field is for. Only ``plain`` ones may be set by a request.
    """

    name: str
    kind: type
    default: object
    about: str
    low: float
    high: float
    choices: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether its values are numbers, words or choices; any other type may name a file, a folder or an address."""
        return self.kind in (bool, int, float, str)

    @property
    def example(self) -> object:
        """A value it may have: its default, if it has one."""
        return (*self.choices, "true" if self.kind is bool else "1")[0] if self.default is None else self.default

    def check(self, value: object) -> None:
        """Raise ``ValueError`` unless ``value`` is of the right type and in range."""
        if value is None and self.default is None:
            return
        if self.choices:
            if value not in self.choices:
                raise RnriError(f"{self.name}={_short(repr(value))} is not one of {', '.join(self.choices)}")
            return
        accepted = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.kind in (int, float, str)):
            raise RnriError(f"{self.name}={_short(repr(value))} is not a {self.kind.__name__}")
        if isinstance(value, (int, float)) and not self.low <= value <= self.high:
            raise RnriError(f"{self.name}={_short(repr(value))} is outside {self.low:g} to {self.high:g}")

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


class Registered:
    """Base of what a registry holds: a frozen dataclass whose fields are declared with :func:`option`.

    ``source`` is the publication it comes from, ``passage`` where in it; ``further`` are those it draws on beside.
    """

    source: ClassVar[Source]
    passage: ClassVar[str]
    further: ClassVar[tuple[Source, ...]] = ()

    def __post_init__(self) -> None:
        for each in self.options():
            each.check(getattr(self, each.name))

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """Its fields in order, with defaults and ranges."""
        hints = get_type_hints(cls)
        return tuple(_describe(each, hints[each.name]) for each in fields(cls) if each.metadata)  # type: ignore[arg-type]


_Kind = TypeVar("_Kind", bound=Registered)
_Value = TypeVar("_Value")
_SHOWN = 200
"""Characters of a spec that an error repeats."""


def current(name: str, known: Container[str]) -> str:
    """The present name of a component or option; a name of 0.1 (:data:`RENAMED`) with a ``DeprecationWarning``.

    Args:
        name: a name of today or of 0.1.
        known: names of today.

    >>> current("tol", ["tol"]), current("other", ["tol"])
    ('tol', 'other')
    """
    if name in known or RENAMED.get(name) not in known:
        return name
    warnings.warn(f"{name!r} is now {RENAMED[name]!r}; the old name goes in 0.3", RenamedWarning, stacklevel=4)
    return RENAMED[name]


@cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """Components of other distributions by name: the entry points of a group, which are not imported before ``load()``.

    Args:
        group: ``"rnri.controls"``, ``"rnri.solvers"`` or ``"rnri.families"``.

    >>> plugins("rnri.nothing")
    {}
    """
    return {each.name: each for each in entry_points(group=group)}


class Registry(MutableMapping[str, _Value]):
    """Components by name: those of this repository, then the plugins of an entry-point group.

    A component that is given as ``"module:Name"`` is imported when it is first looked up, and its name is listed
    without that. A name of 0.1 (:data:`RENAMED`) finds the component of today, with a ``DeprecationWarning``, and is
    not listed.

    Args:
        group: the entry-point group.
        own: the components of this repository, or where they are; a plugin cannot take their names.

    >>> registry = Registry("rnri.nothing", {"one": 1})
    >>> list(registry), registry["one"], "two" in registry
    (['one'], 1, False)
    """

    def __init__(self, group: str, own: Mapping[str, _Value | str]) -> None:
        self._group, self._own = group, dict(own)

    def __getitem__(self, name: str) -> _Value:
        name = current(name, list(self))
        value = self._own.get(name)
        if isinstance(value, str):
            value = self._own[name] = EntryPoint(name, value, self._group).load()
        elif name not in self._own:
            plugin = plugins(self._group)[name]
            try:
                value = self._own[name] = plugin.load()
            except Exception as error:
                raise RnriError(
                    f"the plugin {name!r} ({plugin.value}) cannot be imported: {type(error).__name__}: {error}",
                    hint="update or uninstall its package",
                ) from error
        return cast(_Value, value)

    def __setitem__(self, name: str, value: _Value) -> None:
        self._own[name] = value

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._own, **plugins(self._group)})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in (names := list(self)) or RENAMED.get(str(name)) in names


def apart(text: str, mark: Literal[",", ";"]) -> list[str]:
    """The parts of a text between marks outside quotes, in one pass; none for an empty text.

    A quote opens at the start of a part or after ``=``, and stands doubled for itself. Raises ``ValueError`` for one
    that is not closed.

    >>> apart("a='1,2',b=don't", ",")
    ["a='1,2'", "b=don't"]
    """
    parts, start, quote, opens = list[str](), 0, "", True
    for n, each in enumerate(text):
        closes = each == quote
        if quote:
            quote = "" if closes else quote
        elif each in "'\"" and opens:
            quote = each
        elif each == mark:
            parts.append(text[start:n])
            start = n + 1
        opens = closes or each in ("=", mark) or (opens and each.isspace())
    if quote:
        raise RnriError(
            f"a quote {quote} is not closed in {_short(text)!r}", hint="close it, or double it to mean itself"
        )
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def spell(name: str, values: Mapping[str, object]) -> str:
    """The spec of a name with these fields, which :func:`make` reads back.

    >>> spell("negative", {"prompt": "fog, rain"}), spell("polish", {})
    ("negative:prompt='fog, rain'", 'polish')
    """
    settings = ",".join(f"{field}={_spelled(value)}" for field, value in values.items())
    return f"{name}:{settings}" if settings else name


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and (set(value) & set(",;'\"") or value != value.strip()):
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e9:
        return str(int(value))
    return str(value)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def make(
    registry: Mapping[str, type[_Kind]], spec: str, what: str, *, hint: str = "", plain: bool = False, **values: Any
) -> _Kind:
    """One of the registry, with the fields that ``spec`` sets: ``"name"`` or ``"name:field=value,field=value"``.

    A value that holds a comma stands in quotes, ``"name:field='a,b'"``. With ``plain``, for specs of requests, fields
    that take a file are refused. Raises ``ValueError`` for an unknown name, an unknown field or a value that does not
    fit, saying what does; ``what`` the registry holds is named in it.
    """
    name, _, settings = spec.partition(":")
    if name not in registry:
        raise RnriError(f"no {what} is called {_short(name)!r}; there are {', '.join(registry)}{hint}")
    kind = registry[name]
    known = {option.name: option for option in kind.options()}
    for setting in apart(settings, ","):
        field, given, text = (part.strip() for part in setting.partition("="))
        field = current(field, known)
        if field not in known:
            has = f"its fields are {', '.join(known)}" if known else "it has no fields"
            raise RnriError(f"{what} {name!r} has no field {_short(field)!r}; {has}")
        if plain and not known[field].plain:
            raise RnriError(
                f"{what} {name!r}: {field} is a file, and a request may not name one", hint="upload the picture"
            )
        if not given:
            raise RnriError(f"{what} field {field!r} needs a value, as in {name}:{field}={known[field].example}")
        if field in values:
            raise RnriError(f"{what} field {field!r} is given twice in {_short(spec)!r}")
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            text = text[1:-1].replace(text[0] * 2, text[0])
        try:
            values[field] = known[field].parse(text)
        except ValueError as error:
            raise RnriError(f"{what} {name!r}", hint=f"{error}") from None
    return kind(**values)


def spec_of(registry: Mapping[str, type[Any]], made: object) -> str:
    """The spec under which a registry makes an object: its name, and the fields that are not defaults.

    An object of a class that the registry does not hold is called by the name of its class.
    """
    name = next((name for name, kind in registry.items() if kind is type(made)), type(made).__name__)
    fields = made.options() if isinstance(made, Registered) else ()
    values = {each.name: getattr(made, each.name) for each in fields}
    return spell(name, {each.name: values[each.name] for each in fields if values[each.name] != each.default})


def _describe(each: Field[Any], hint: Any) -> Option:
    if get_origin(hint) in (Union, UnionType):
        [hint] = (each for each in get_args(hint) if each is not NoneType)
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    kind = str if choices else object if hint is Any else hint
    return Option(each.name, kind, each.default, choices=choices, **each.metadata)
