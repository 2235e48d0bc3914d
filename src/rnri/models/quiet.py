"""Messages of diffusers, transformers and the Hub's client: silenced while they work, errors cut to one line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


_LOCK = threading.Lock()
_WITHIN: list[bool] = []
"""Whether each thread inside :func:`quiet` wants progress bars of downloads; the switches are of the process."""
_BEFORE: list[tuple[Callable[..., object], Any]] = []
"""Setters and the values that they restore."""


@contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Silence log messages and progress bars of diffusers and transformers; with `bars`, those of downloads stay.

    Threads may be inside at the same time: the first records the state of the process, and the last restores it.
    """
    with _LOCK:
        if not _WITHIN:
            _hush()
        _WITHIN.append(bars)
        _show_downloads()
    try:
        yield
    finally:
        with _LOCK:
            _WITHIN.remove(bars)
            if _WITHIN:
                _show_downloads()
            else:
                while _BEFORE:
                    restore, value = _BEFORE.pop()
                    restore(value)


def _hush() -> None:
    from diffusers.utils import logging as of_diffusers
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled
    from transformers.utils import logging as of_transformers

    _BEFORE[:] = [
        (_switch_downloads, not are_progress_bars_disabled()),
        (_switch_transformers, of_transformers.is_progress_bar_enabled()),
        (of_transformers.set_verbosity, of_transformers.get_verbosity()),
        (of_diffusers.set_verbosity, of_diffusers.get_verbosity()),
    ]
    of_diffusers.set_verbosity_error()
    of_transformers.set_verbosity_error()
    _switch_transformers(False)


def _show_downloads() -> None:
    """Show progress bars of downloads if a thread inside wants them, and if they were shown before."""
    _switch_downloads(any(_WITHIN) and bool(_BEFORE[0][1]))


def _switch_transformers(shown: bool) -> None:
    """Progress bars of transformers on or off, and those of downloads with them."""
    from transformers.utils import logging

    (logging.enable_progress_bar if shown else logging.disable_progress_bar)()


def _switch_downloads(shown: bool) -> None:
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if shown else disable_progress_bars)()
