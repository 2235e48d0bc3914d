"""Whose turn it is: sessions in turn, each in its own order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What may stand in a queue."""

    @property
    def session(self) -> str:
        """Who asked for it."""

    @property
    def dead(self) -> bool:
        """Nobody waits for it any more."""


W = TypeVar("W", bound=Waiting)


class FairQueue(Generic[W]):
    """First in, first out within a session; between sessions in turn, so that none waits for all that another asked.

    It is not locked: whoever shares it holds a lock.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, deque[W]] = OrderedDict()

    def __len__(self) -> int:
        """How many wait that are not dead."""
        self._bury()
        return sum(map(len, self._sessions.values()))

    def put(self, item: W) -> None:
        """Let it wait behind what its session asked before."""
        self._sessions.setdefault(item.session, deque()).append(item)

    def pop(self, fits: Callable[[W], bool] = lambda _: True) -> W | None:
        """What `fits` of the first session in turn that has any, whose next turn is then the last.

        So what fits may overtake what its own session asked before.
        """
        self._bury()
        for session, line in self._sessions.items():
            item = next(filter(fits, line), None)
            if item is not None:
                self._sessions.move_to_end(session)
                line.remove(item)
                return item
        return None

    def count(self, fits: Callable[[W], bool]) -> int:
        """How many of them `fits`."""
        self._bury()
        return sum(fits(item) for line in self._sessions.values() for item in line)

    def drain(self) -> list[W]:
        """All that wait, in no particular order; none is left."""
        left = [item for line in self._sessions.values() for item in line]
        self._sessions.clear()
        return left

    def _bury(self) -> None:
        """Drop the dead."""
        for session, line in list(self._sessions.items()):
            alive = deque(item for item in line if not item.dead)
            if alive:
                self._sessions[session] = alive
            else:
                del self._sessions[session]
