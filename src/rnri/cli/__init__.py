"""The command line: parsing and printing only.

Commands are imported here, what they work with when they run: help and mistyped options cost no import of torch.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence

import typer

from rnri.cli import screen
from rnri.cli.app import app
from rnri.cli.errors import Exit, answer

__all__ = ["Exit", "app", "main"]


DEBUG = ("RNRI_DEBUG", "RNRI_TRACEBACK")
"""Environment variables, the second of 0.1, with which errors show their traceback."""

_LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of these arguments and return its exit code, one of :class:`Exit`.

    The only place that handles errors: an error is one line on stderr. Its traceback goes to the log ``rnri.cli`` at
    level DEBUG, and with RNRI_DEBUG set in the environment the error itself is raised.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without a character shows another, and the command goes on
    with screen.log_shown():
        try:
            code = app(None if arguments is None else list(arguments), prog_name="rnri", standalone_mode=False)
        except (KeyboardInterrupt, typer.Abort):
            code = Exit.STOPPED
        except Exception as error:
            if any(os.environ.get(name) for name in DEBUG):
                raise
            _LOG.debug("the command failed", exc_info=True)
            code, line = answer(error)
            screen.show_error(line)
            return code
    if code == Exit.STOPPED:
        screen.show_error("interrupted")
    return code if isinstance(code, int) else Exit.DONE
