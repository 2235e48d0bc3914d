"""A fair queue: sessions take turns, each in its own order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """An item of a queue."""

    @property
    def session(self) -> str:
        """The session whose turn it takes."""

    @property
    def dead(self) -> bool:
        """Whether nobody waits for it any more."""


W = TypeVar("W", bound=Waiting)


class FairQueue(Generic[W]):
    """Queue of items that are first in, first out within a session; sessions take turns.

    It has no lock of its own: threads that share it hold one.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, deque[W]] = OrderedDict()

    def __len__(self) -> int:
        """How many items wait; dead ones are not counted."""
        self._bury()
        return sum(map(len, self._sessions.values()))

    def put(self, item: W) -> None:
        """Add an item behind those of its session."""
        self._sessions.setdefault(item.session, deque()).append(item)

    def pop(self, fits: Callable[[W], bool] = lambda _: True) -> W | None:
        """The first item that `fits`, of the first session in turn that has one; the session then goes to the end.

        An item that fits may overtake older ones of its session.
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
        """How many items fit."""
        self._bury()
        return sum(fits(item) for line in self._sessions.values() for item in line)

    def drain(self) -> list[W]:
        """Remove and return all items, in no particular order."""
        left = [item for line in self._sessions.values() for item in line]
        self._sessions.clear()
        return left

    def _bury(self) -> None:
        """Drop dead items."""
        for session, line in list(self._sessions.items()):
            alive = deque(item for item in line if not item.dead)
            if alive:
                self._sessions[session] = alive
            else:
                del self._sessions[session]
