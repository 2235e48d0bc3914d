"""The command line: parsing and printing only.

Commands are imported here, what they work with when they run: help and mistyped options cost no import of torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import typer

from rnri.cli import screen
from rnri.cli.app import app

__all__ = ["app", "main"]

BAD_INPUT, INTERRUPTED = 2, 130

_NETWORK = ("httpcore", "httpx", "httpx2", "huggingface_hub", "requests", "urllib3")
"""Libraries that downloads go through, whose errors need not be OSErrors."""

_Misuse: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments spell and return its exit code; the only place that handles errors.

    What the user can mend is one line on stderr and exit code 2, Ctrl-C is 130. With RNRI_TRACEBACK set in the
    environment, errors show where they come from.
    """
    try:
        with screen.warnings_shown():
            code = app(None if arguments is None else list(arguments), prog_name="rnri", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (_Misuse, ValueError, TypeError, OSError) as error:
        if os.environ.get("RNRI_TRACEBACK"):
            raise
        screen.complain(_line(error))
        return BAD_INPUT
    except Exception as error:
        if os.environ.get("RNRI_TRACEBACK") or not (said := _of_the_surroundings(error)):
            raise
        screen.complain(said)
        return BAD_INPUT
    if code == INTERRUPTED:
        screen.complain("interrupted")
    return code if isinstance(code, int) else 0


def _of_the_surroundings(error: Exception) -> str | None:
    """What is wrong with the network or the device, told by the name of an error whose library is not imported here."""
    kind = type(error)
    if kind.__module__.partition(".")[0] in _NETWORK:
        return f"the network failed ({kind.__name__}: {error}): try again"
    if kind.__name__ == "OutOfMemoryError":
        return "the device is out of memory: try --dtype bfloat16, --offload model, --vae-tiling, or fewer at once"
    return None


def _line(error: BaseException) -> str:
    """What is wrong, with the cure."""
    if isinstance(error, _Misuse):
        context = getattr(error, "ctx", None)
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return f"{message[:1].lower()}{message[1:]} (see {context.command_path if context else 'rnri'} --help)"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    return str(error) or type(error).__name__
