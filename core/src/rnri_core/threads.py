"""Locks for state that belongs to the whole process, so that any number of threads may use editors.

PyTorch, diffusers and transformers keep state outside the objects that rnri holds: the default dtype while weights are
loaded, the padding of a tokenizer, the level of forward-mode differentiation, warning filters. Threads enter the locks
in the order :func:`loading` or :func:`running`, then :data:`TOKENIZERS`, then :data:`WARNING_FILTERS`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

TOKENIZERS = threading.RLock()
"""Held while prompts are read. A tokenizer stores padding and truncation between calls, and models may share one."""

WARNING_FILTERS = threading.RLock()
"""Held within `warnings.catch_warnings`, which replaces and restores the filters of all threads."""


class SharedLock:
    """A shared-exclusive lock: any number of threads are within :meth:`shared`, or one is within :meth:`exclusive`.

    A thread may enter again, `shared` within `exclusive` too. Threads that wait for `exclusive` precede those that
    come for `shared` later. `exclusive` within `shared` would wait for itself and raises RuntimeError.

    >>> lock = SharedLock()
    >>> with lock.exclusive(), lock.shared():
    ...     pass
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = self._waiting = 0
        self._taken = False
        self._own = threading.local()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Enter beside other threads."""
        entered = getattr(self._own, "entered", 0)
        if not entered:
            with self._changed:
                self._changed.wait_for(lambda: not self._taken and not self._waiting)
                self._sharing += 1
        self._own.entered = entered + 1
        try:
            yield
        finally:
            self._own.entered = entered
            if not entered:
                with self._changed:
                    self._sharing -= 1
                    self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Enter alone, after all threads that are within have left."""
        if getattr(self._own, "alone", False):
            yield
            return
        if getattr(self._own, "entered", 0):
            raise RuntimeError("a thread that shares a lock cannot take it alone: leave it first")
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._taken and not self._sharing)
            finally:
                self._waiting -= 1
                self._changed.notify_all()
            self._taken = True
        self._own.alone, self._own.entered = True, 1
        try:
            yield
        finally:
            self._own.alone, self._own.entered = False, 0
            with self._changed:
                self._taken = False
                self._changed.notify_all()


_PROCESS = SharedLock()
_ALONE = threading.RLock()


def loading() -> AbstractContextManager[None]:
    """Context of code that changes settings of the process: while weights are loaded, nothing runs.

    Loading a checkpoint sets PyTorch's default dtype, replaces the initialisation of modules and reseeds the global
    random generator, and restores them; two loads at once would restore each other's changes.
    """
    return _PROCESS.exclusive()


@contextmanager
def running(*, alone: bool = False) -> Iterator[None]:
    """Context of code that needs settings of the process to stay; threads run beside each other, `alone` one by one.

    `alone` is for what PyTorch and accelerate support in one thread at a time: forward-mode differentiation, compiled
    and offloaded networks, processors that are swapped.
    """
    with _PROCESS.shared():
        if alone:
            with _ALONE:
                yield
        else:
            yield


def runs(method: F) -> F:
    """The method of an editor within :func:`running`, alone where its model is used by `one_at_a_time`."""

    @wraps(method)
    def within(self: Any, *args: Any, **kwargs: Any) -> Any:
        with running(alone=self.model.one_at_a_time):
            return method(self, *args, **kwargs)

    return cast(F, within)
