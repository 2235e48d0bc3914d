"""Groups of options: a dataclass whose fields are options, which a command takes as one parameter."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache, wraps
from typing import Annotated, Any, get_origin, get_type_hints

import typer
from rnri_core.errors import RnriError
from typer.core import TyperCommand

_LOG = logging.getLogger(__name__)


class Command(TyperCommand):
    """A command whose help shows options by panel, and which reads old names and lists.

    Of the names that an option declares, the first is shown; further long ones are its old names, and a warning says
    so. Where a command takes no arguments, an option that may be repeated also takes several values: --steps 4 20.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.renamed: dict[str, str] = {}
        for param in self.params:
            for names in (param.opts, param.secondary_opts):
                old = [name for name in names[1:] if name.startswith("--")]
                self.renamed |= dict.fromkeys(old, names[0] if names else "")
                names[:] = [name for name in names if name not in old]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        listed = {name for each in self.params if getattr(each, "multiple", False) for name in each.opts}
        if any(each.param_type_name == "argument" for each in self.params):
            listed = set()
        spread: list[str] = []
        for argument in args:
            name, equals, value = argument.partition("=")
            if name in self.renamed:
                _LOG.warning("%s is now %s; the old name goes in 0.3", name, self.renamed[name])
                argument = f"{self.renamed[name]}{equals}{value}"
            last = spread[-2] if len(spread) > 1 else ""
            spread += [last, argument] if last in listed and not argument.startswith("-") else [argument]
        return super().parse_args(ctx, spread)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                panel = getattr(param, "rich_help_panel", None) or f"{param.param_type_name.capitalize()}s"
                panels.setdefault(panel, []).append(record)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


def option(default: Any, help: str, *names: str, **more: Any) -> Any:
    """A field of a group: its default (``...`` for a required one), help, names, and further arguments of typer.

    Without names the option is called as the field.
    """
    metadata = {"option": typer.Option(*names, help=help, **more)}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options of its groups in place of the parameters that are dataclasses.

    A field of a group that is no :func:`option`, as those of ``Loading``, becomes one by its type and its metadata
    ``about``.
    """
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    parameters = [each.replace(annotation=hints[name]) for name, each in own.items() if not is_dataclass(hints[name])]
    groups = {name: hints[name] for name in own if is_dataclass(hints[name])}
    for name, kind in groups.items():
        parameters += _parameters(kind, f"{name}_", kind.__name__)

    @wraps(command)
    def with_options(*arguments: Any, **options: Any) -> Any:
        built = {name: _build(kind, f"{name}_", options) for name, kind in groups.items()}
        return command(*arguments, **options, **built)

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    del with_options.__wrapped__  # typer reads the signature from here
    return with_options


@contextmanager
def naming(*groups: object) -> Iterator[None]:
    """Errors raised within name the option of these groups that sets the refused field, instead of the field."""
    try:
        yield
    except RnriError as error:
        for group in groups:
            option = option_names(group).get(error.field or "")
            if option and error.problem.startswith(f"{error.field}="):
                problem = f"{option} {error.problem.removeprefix(f'{error.field}=')}"
                raise RnriError(problem, hint=error.hint, field=option) from error
        raise


def option_names(group: object) -> dict[str, str]:
    """The options of a group: field, and the option's name."""
    kind: Any = type(group)
    return {name: info.default.partition("/")[0] for name, _, info in _declared(kind)[0]}


def set_fields(group: object) -> dict[str, Any]:
    """Field and value of each option of a group that was set."""
    return {name: value for name in option_names(group) if (value := getattr(group, name)) is not None}


@cache
def _declared(kind: Any) -> tuple[list[tuple[str, Any, Any]], dict[str, Any]]:
    """Name, type and declaration of each option of a group; name and class of each group inside it."""
    options, inner, hints = [], {}, get_type_hints(kind)
    for each in fields(kind):
        held = hints[each.name]
        if is_dataclass(held):
            inner[each.name] = held
            continue
        held, info = (held, copy(each.metadata["option"])) if "option" in each.metadata else _derived(each, held)
        flag = f"--{each.name.replace('_', '-')}"
        if info.default is ...:  # typer keeps the first name that is declared in the place of the default
            info.default = f"{flag}/--no-{flag[2:]}" if held == (bool | None) else flag
        options.append((each.name, held, info))
    return options, inner


def _derived(each: Field[Any], held: Any) -> tuple[Any, Any]:
    """Type and declaration of an option whose field declares none."""
    about = each.metadata["about"]
    if held is bool:
        return held, typer.Option(help=about)
    if held == (bool | None):
        return held, typer.Option(help=about, show_default="where it is faster")
    shown = each.default if isinstance(each.default, str) else False
    held = list[str] if get_origin(held) is tuple else held
    return held, typer.Option(metavar="NAME", help=about, show_default=shown)


def _parameters(kind: Any, prefix: str, panel: str) -> Iterator[inspect.Parameter]:
    """The parameters of a group's options, then those of the groups inside it."""
    panel = getattr(kind, "PANEL", panel)
    defaults = {each.name: each.default for each in fields(kind)}
    options, inner = _declared(kind)
    for name, held, info in options:
        default = inspect.Parameter.empty if defaults[name] is MISSING else defaults[name]
        info.rich_help_panel = panel
        yield inspect.Parameter(
            prefix + name,
            inspect.Parameter.KEYWORD_ONLY,
            default=list(default) if isinstance(default, tuple) else default,
            annotation=Annotated[held, info],
        )
    for name, group in inner.items():
        yield from _parameters(group, f"{prefix}{name}_", panel)


def _build(kind: Any, prefix: str, parsed: dict[str, Any]) -> Any:
    """The group made of its options, which are taken out of ``parsed``."""
    options, inner = _declared(kind)
    values = {name: parsed.pop(prefix + name) for name, _, _ in options}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return kind(**values, **{name: _build(group, f"{prefix}{name}_", parsed) for name, group in inner.items()})
