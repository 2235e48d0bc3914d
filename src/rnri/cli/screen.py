"""What is shown: results on stdout, everything else on stderr; plain text unless it is a terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from rich.console import Console
from rich.text import Text

Tell: TypeAlias = Callable[[str], None]
"""Shows the step of a command that has begun."""

_LOG = logging.getLogger(__name__)
_out, _err = Console(highlight=False), Console(stderr=True, highlight=False)


def show(line: str = "", style: str | None = None) -> None:
    """One line of a result, in a style on a terminal."""
    if style and _out.is_terminal:
        _out.print(line, style=style, markup=False, soft_wrap=True)
    else:
        write(line)


def write(text: str) -> None:
    """These characters and a line end; a reader that closed the pipe, such as ``head``, ends the command as done."""
    try:
        _out.file.write(f"{text}\n")
        _out.file.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        raise SystemExit(0) from None


def show_error(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    _tell(f"rnri: {' '.join(message.split())}")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under their heads: ruled on a terminal, plain columns elsewhere. Figures are set to the right."""
    right = [all(_is_figure(row[n]) for row in rows) for n in range(len(heads))]
    if _out.is_terminal:
        from rich.table import Table

        ruled = Table()
        for head, figures in zip(heads, right, strict=True):
            ruled.add_column(head, justify="right" if figures else "left")
        for row in rows:
            ruled.add_row(*map(Text, row))
        _out.print(ruled)
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = zip(row, widths, right, strict=True)
        show("  ".join(cell.rjust(width) if figures else cell.ljust(width) for cell, width, figures in cells).rstrip())


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values, one pair a line."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        show(f"{name.ljust(width)}  {value}")


@contextmanager
def progress() -> Iterator[Tell]:
    """Shows the steps of a command: a spinner with the latest on a terminal, a line for each elsewhere."""
    if not _err.is_terminal:
        yield lambda message: _tell(f"{message} …")
        return
    with _err.status("") as spinner:
        yield lambda message: spinner.update(f"{message} …")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many of how many are done: a bar on a terminal, a line for each percent elsewhere."""
    if _err.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=_err, transient=True) as bars:
            task = bars.add_task(what, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)
        return
    shown = {-1}

    def tell(done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if percent not in shown:
            shown.add(percent)
            _tell(f"{what} {done} of {total} …")

    yield tell


class _Lines(logging.Handler):
    """Shows each record of the log as a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        show_error(f"{record.levelname.lower()}: {record.getMessage()}")
        if record.exc_info:
            _tell(logging.Formatter().formatException(record.exc_info))


_LOGGERS = [logging.getLogger(name) for name in ("rnri", "rnri_core")]


def set_level(level: int) -> None:
    """Show the log from this level on."""
    for logger in _LOGGERS:
        logger.setLevel(level)


@contextmanager
def log_shown() -> Iterator[None]:
    """The log on stderr, and in it each warning of this package once; warnings of libraries under it are not shown."""
    seen, handler = set[str](), _Lines()

    def show(message: Warning | str, category: type[Warning], *_place: Any, **_more: Any) -> None:
        text = str(message)
        if category.__module__.startswith(("rnri.", "rnri_core.")) and text not in seen:
            seen.add(text)
            _LOG.warning("%s", text)

    for logger in _LOGGERS:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield
    finally:
        for logger in _LOGGERS:
            logger.removeHandler(handler)
        set_level(logging.NOTSET)


def _tell(line: str) -> None:
    _err.print(line, markup=False, soft_wrap=True)


def _is_figure(cell: str) -> bool:
    return not cell.strip("0123456789.-– ")
