"""How a model is loaded, as options of every command that loads one: see `rnri.models.loading.Loading`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer
from rnri_core.errors import RnriError

from rnri.models.loading import Loading

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Asked:
    """How a model was asked to be loaded: everything but its name and its device."""

    how: Loading
    dtype: str

    def arguments(self) -> dict[str, Any]:
        """In the names of `rnri.models.load`."""
        import torch

        return {"loading": self.how, "dtype": getattr(torch, self.dtype)}

    def check_unseen(self, needs: str = "rnri edit --way") -> None:
        """Raise ValueError for a preview where nothing is looked at with it."""
        if self.how.preview is not None:
            raise RnriError(f"--preview {self.how.preview} has no effect without {needs}", hint="leave it out")


def loads_a_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options, which it finds gathered in its parameter `loading`, an `Asked`."""
    asked = _options()

    @wraps(command)
    def with_options(*arguments: Any, **options: Any) -> None:
        dtype = options.pop("dtype")
        if dtype not in DTYPES:
            raise RnriError(f"--dtype {dtype!r} is not known", hint=f"use {', '.join(DTYPES)}")
        given: dict[str, Any] = {each.name: options.pop(each.name) for each in fields(Loading)}
        given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
        how = Loading(**given)
        command(*arguments, **options, loading=Asked(how, dtype))

    hints = get_type_hints(command, include_extras=True)
    own = [
        each.replace(annotation=hints[name])
        for name, each in inspect.signature(command).parameters.items()
        if name != "loading"
    ]
    signature = inspect.Signature([*own, *asked])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    with_options.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    del with_options.__wrapped__  # typer reads the signature from here
    return with_options


def _options() -> list[inspect.Parameter]:
    kinds = get_type_hints(Loading)
    found = [_option("dtype", str, "float32", f"Precision of the networks: {', '.join(DTYPES)}.")]
    for each in fields(Loading):
        default = () if each.default is MISSING else each.default
        found.append(_option(each.name, kinds[each.name], default, each.metadata["about"]))
    return found


def _option(name: str, kind: Any, default: Any, about: str) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    read: Any
    if kind is bool:
        read = Annotated[bool, typer.Option(flag, help=about)]
    elif kind == (bool | None):
        switch = f"{flag}/--no-{flag[2:]}"
        read = Annotated[bool | None, typer.Option(switch, help=about, show_default="where it is faster")]
    elif isinstance(default, tuple):
        default, read = [], Annotated[list[str], typer.Option(flag, metavar="NAME", help=about, show_default=False)]
    else:
        shown = default if default is not None else False
        read = Annotated[str | None, typer.Option(flag, metavar="NAME", help=about, show_default=shown)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=read)
