"""Futures of an engine's jobs, and the reasons why a job has no result."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """A job without a result, for no fault of its request; the text has the reason and the cure."""


class Superseded(Stopped):
    """A newer request of the same session took its place."""


class Cancelled(Stopped):
    """Its client waits no longer."""


class Late(Stopped):
    """Its deadline passed before it was done."""


class Closed(Stopped):
    """The engine is being shut down."""


class Full(Stopped):
    """The queue is full; `retry_after` is when some of its jobs will be done, in seconds."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests wait already: try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class Ticket(Generic[T]):
    """A future of a job, for any thread: wait for it, cancel it, see its progress.

    It is stopped once, for one reason, which is raised at once where its result is awaited. `calls` counts the network
    calls for it so far.
    """

    def __init__(self, session: str, seconds: float) -> None:
        self.session = session
        self.submitted = time.monotonic()
        self.deadline = self.submitted + seconds
        self.calls = 0
        self._lock = threading.Lock()
        self._stopped: Stopped | None = None
        self._box: Future[T] = Future()
        self._box.set_running_or_notify_cancel()  # from here on only the methods below end it

    @property
    def stopped(self) -> Stopped | None:
        """Why there will be no result, or None; this tests the deadline as well."""
        if self._stopped is None and not self._box.done() and time.monotonic() > self.deadline:
            self.stop(Late(f"not done within {self.deadline - self.submitted:g} s: ask for less, or allow more time"))
        return self._stopped

    @property
    def left(self) -> float:
        """Seconds to its deadline, 0 once it has passed."""
        return max(self.deadline - time.monotonic(), 0.0)

    def stop(self, why: Stopped) -> bool:
        """Stop it, unless it is stopped; whether that saved work. A result that exists is not delivered."""
        with self._lock:
            if self._stopped is None:
                self._stopped = why
            if self._box.done():
                return False
            self._box.set_exception(why)
            return True

    def cancel(self) -> None:
        """Stop it: no further network call is made for it."""
        self.stop(Cancelled("cancelled"))

    def finish(self, result: T) -> bool:
        """Set the result; False if it was stopped, and the result is dropped."""
        with self._lock:
            if self._box.done():
                return False
            self._box.set_result(result)
            return True

    def fail(self, error: Exception) -> None:
        """Set an error instead of a result."""
        with self._lock:
            if not self._box.done():
                self._box.set_exception(error)

    def result(self) -> T:
        """Wait for the result. Raises why it was stopped, or the error of the work."""
        try:
            result = self._box.result(self.left)
        except (FutureTimeoutError, Stopped):
            return self._raise_stopped()
        return self._unless_stopped(result)

    async def answer(self) -> T:
        """Wait for the result in a coroutine, whose cancellation cancels the ticket."""
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(self._box), self.left)
        except asyncio.CancelledError:
            self.cancel()
            raise
        except (TimeoutError, Stopped):
            return self._raise_stopped()
        return self._unless_stopped(result)

    def _raise_stopped(self) -> T:
        """Raise why it was stopped, by the deadline if nothing else."""
        self.stop(Late(f"not done within {self.deadline - self.submitted:g} s: ask for less, or allow more time"))
        assert self._stopped is not None
        raise self._stopped

    def _unless_stopped(self, result: T) -> T:
        """The result, unless it was stopped after it was done."""
        if self._stopped is not None:
            raise self._stopped
        return result
