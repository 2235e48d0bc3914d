"""What is shown: results on stdout, everything else on stderr, plain where nobody watches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_out, _err = Console(highlight=False), Console(stderr=True, highlight=False)


def say(line: str = "", style: str | None = None) -> None:
    """One line of a result."""
    _out.print(line, style=style, markup=False, soft_wrap=True)


def say_exactly(text: str) -> None:
    """A result for machines: these characters and a line end."""
    _out.file.write(f"{text}\n")
    _out.file.flush()


def complain(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    _tell(f"rnri: {' '.join(message.split())}")


def warn(message: str) -> None:
    """One line on stderr about what is no reason to stop."""
    complain(f"warning: {message}")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under their heads: ruled on a terminal, plain columns elsewhere. Figures are set to the right."""
    right = [all(_is_figure(row[n]) for row in rows) for n in range(len(heads))]
    if _out.is_terminal:
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
        say("  ".join(cell.rjust(width) if figures else cell.ljust(width) for cell, width, figures in cells).rstrip())


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, one pair a line."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name.ljust(width)}  {value}")


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that tells what is going on: a spinner with the latest on a terminal, a line for each elsewhere."""
    if not _err.is_terminal:
        yield lambda message: _tell(f"{message} …")
        return
    with _err.status("") as spinner:
        yield lambda message: spinner.update(f"{message} …")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that is told how many of how many are done: a bar on a terminal, a line for each percent elsewhere."""
    if _err.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=_err, transient=True) as bars:
            task = bars.add_task(what, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)
        return
    said = {-1}

    def tell(done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if percent not in said:
            said.add(percent)
            _tell(f"{what} {done} of {total} …")

    yield tell


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Warnings of this package are shown in one line, each once; those of the libraries under it are not."""
    said = set[str]()

    def show(message: Warning | str, category: type[Warning], *_place: Any, **_more: Any) -> None:
        text = str(message)
        if category.__module__.startswith(("rnri.", "rnri_core.")) and text not in said:
            said.add(text)
            warn(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


def _tell(line: str) -> None:
    _err.print(line, markup=False, soft_wrap=True)


def _is_figure(cell: str) -> bool:
    return not cell.strip("0123456789.-– ")
