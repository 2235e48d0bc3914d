"""The command line: parsing and printing only.

Commands are imported here, what they work with when they run: help and mistyped options cost no import of torch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import typer
from rnri_core.errors import RnriError

from rnri.cli import screen
from rnri.cli.app import app

__all__ = ["app", "main"]

DONE, FAULT, INPUT, PARTLY, STOPPED = 0, 1, 2, 3, 130
"""Exit codes: done; a fault of rnri; input or a model that is refused; done in part, rows failed; stopped by Ctrl-C."""

DEBUG = ("RNRI_DEBUG", "RNRI_TRACEBACK")
"""Environment variables, the second of 0.1, with which errors show their traceback."""

_NETWORK = ("httpcore", "httpx", "httpx2", "huggingface_hub", "requests", "urllib3")
"""Libraries that downloads go through, whose errors need not be OSErrors."""

_Misuse: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

_LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments spell and return its exit code; the only place that handles errors.

    An error is one line on stderr. Its traceback goes to the log ``rnri.cli`` at level DEBUG, and with RNRI_DEBUG set
    in the environment the error itself is raised.
    """
    try:
        with screen.warnings_shown():
            code = app(None if arguments is None else list(arguments), prog_name="rnri", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except Exception as error:
        if any(os.environ.get(name) for name in DEBUG):
            raise
        _LOG.debug("the command failed", exc_info=True)
        code, line = _answer(error)
        screen.complain(line)
        return code
    if code == STOPPED:
        screen.complain("interrupted")
    return code if isinstance(code, int) else DONE


def _answer(error: Exception) -> tuple[int, str]:
    """The exit code of an error, and its line."""
    if isinstance(error, (_Misuse, RnriError, OSError)):
        return INPUT, _line(error)
    if around := _of_the_surroundings(error):
        return INPUT, around
    return FAULT, (
        f"a fault of rnri, not of your input ({type(error).__name__}: {error}): report it with the traceback that "
        "RNRI_DEBUG=1 shows"
    )


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
