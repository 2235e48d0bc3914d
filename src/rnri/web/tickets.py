"""A result that is coming, and the reasons why it may not come."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """There is no result, and that is no fault of the request: the text says why and what to do."""


class Superseded(Stopped):
    """A newer request of the same session took its place."""


class Cancelled(Stopped):
    """Nobody waits for it any more."""


class Late(Stopped):
    """Its deadline passed before it was done."""


class Closed(Stopped):
    """The engine is being shut down."""


class Full(Stopped):
    """As many requests wait already as may; `retry_after` is when some will be done, in seconds."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests wait already: try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class Ticket(Generic[T]):
    """What was asked of the engine: wait for it, cancel it, see how far it is; from any thread.

    It is stopped once, for one reason, and whoever waits hears of that at once. `calls` counts the network calls
    made for it so far.
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
        """Why there will be no result, if so; the passing of the deadline is noticed here."""
        if self._stopped is None and not self._box.done() and time.monotonic() > self.deadline:
            self.stop(Late(f"not done within {self.deadline - self.submitted:g} s: ask for less, or allow more time"))
        return self._stopped

    @property
    def left(self) -> float:
        """Seconds to its deadline, 0 once it has passed."""
        return max(self.deadline - time.monotonic(), 0.0)

    def stop(self, why: Stopped) -> bool:
        """Stop it, unless it is stopped, and say whether that spared work; a result that is there is not given out."""
        with self._lock:
            if self._stopped is None:
                self._stopped = why
            if self._box.done():
                return False
            self._box.set_exception(why)
            return True

    def cancel(self) -> None:
        """Say that nobody waits for it any more: no further network call is made for it."""
        self.stop(Cancelled("cancelled"))

    def finish(self, result: T) -> bool:
        """Hand in the result; False if it was stopped, and the result is dropped."""
        with self._lock:
            if self._box.done():
                return False
            self._box.set_result(result)
            return True

    def fail(self, error: Exception) -> None:
        """Hand in an error instead of a result."""
        with self._lock:
            if not self._box.done():
                self._box.set_exception(error)

    def result(self) -> T:
        """The result, once it is there. Raises why it was stopped, or what the work raised."""
        try:
            result = self._box.result(self.left)
        except (FutureTimeoutError, Stopped):
            return self._given_up()
        return self._unless_stopped(result)

    async def answer(self) -> T:
        """The same in a coroutine; a coroutine that is cancelled cancels the ticket."""
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(self._box), self.left)
        except asyncio.CancelledError:
            self.cancel()
            raise
        except (TimeoutError, Stopped):
            return self._given_up()
        return self._unless_stopped(result)

    def _given_up(self) -> T:
        """Raises why: stopped by somebody, or by the deadline."""
        self.stop(Late(f"not done within {self.deadline - self.submitted:g} s: ask for less, or allow more time"))
        assert self._stopped is not None
        raise self._stopped

    def _unless_stopped(self, result: T) -> T:
        """The result, unless it was stopped between being done and being asked for."""
        if self._stopped is not None:
            raise self._stopped
        return result
