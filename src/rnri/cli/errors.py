"""Exit codes, and the line in which an error is shown: the value that is refused, and the cure."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import typer
from rnri_core.errors import RnriError

_NETWORK = ("httpcore", "httpx", "httpx2", "huggingface_hub", "requests", "urllib3")
"""Libraries that downloads go through, whose errors need not be OSErrors."""

_Usage: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Exit(IntEnum):
    """Exit codes of all commands."""

    DONE = 0
    """All was done."""
    FAULT = 1
    """A fault of rnri."""
    INPUT = 2
    """An input, an option, a model or its surroundings that was refused; nothing was written."""
    PARTLY = 3
    """Done in part: rows of a benchmark failed, each named on stderr."""
    STOPPED = 130
    """Stopped by Ctrl-C."""


def answer(error: Exception) -> tuple[Exit, str]:
    """The exit code of an error, and its line."""
    name = type(error).__name__
    if isinstance(error, _Usage):
        return Exit.INPUT, _usage(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        return Exit.INPUT, f"{error.filename}: {error.strerror}; check the path and its permissions"
    if isinstance(error, (RnriError, OSError)):
        return Exit.INPUT, str(error) or name
    if type(error).__module__.partition(".")[0] in _NETWORK:
        return Exit.INPUT, f"the network failed ({name}: {error}): try again"
    if name == "OutOfMemoryError":
        cure = "try --dtype bfloat16, --offload model, --vae-tiling, or fewer at once"
        return Exit.INPUT, f"the device is out of memory: {cure}"
    return Exit.FAULT, (
        f"a fault of rnri, not of your input ({name}: {error}): report it with the traceback that RNRI_DEBUG=1 shows"
    )


def _usage(error: Any) -> str:
    """The line of an error of usage; of a value that was refused, option, value and cure."""
    param, cause = getattr(error, "param", None), error.__cause__
    if param is None or not hasattr(cause, "errors"):
        context, message = getattr(error, "ctx", None), error.format_message().rstrip(".")
        return f"{message[:1].lower()}{message[1:]} (see {context.command_path if context else 'rnri'} --help)"
    name = param.metavar if param.param_type_name == "argument" else param.opts[0]
    refused = cause.errors()[0]
    if reason := refused.get("ctx", {}).get("error"):  # of a parser, or of the choices
        return f"{name} {reason}".rstrip(".")
    whole = "int" in refused["type"] or isinstance(param.min, int)
    low, high = (f"{bound:.15g}" if isinstance(bound, float) else str(bound) for bound in (param.min, param.max))
    bounds = "" if param.min is None else f" from {low}" + ("" if param.max is None else f" to {high}")
    return f"{name} {refused['input']} is not accepted: give a {'whole ' if whole else ''}number{bounds}"
