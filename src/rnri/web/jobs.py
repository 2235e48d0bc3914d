"""What an engine is asked for: the limits it keeps, drawings, and jobs on their way through its queues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from rnri.controls import AnyControl
from rnri.editing.editor import Editor
from rnri.images import Picture
from rnri.web.store import Cost
from rnri.web.tickets import Ticket

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How much an engine takes on. `wait` is how many seconds an edit waits for others to share its network calls.

    A file has at most `pixels`, and takes at most `decoding` seconds of processor time in one of `decoders` processes.
    """

    queue: int = 64
    batch: int = 8
    wait: float = 0.005
    bytes: int = 256 * 2**20
    seconds: float = 60.0
    pixels: int = 16_000_000
    decoders: int = 2
    decoding: int = 5


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn from an inversion, in the names of `Editor.edit`; `strength` keeps its last steps only.

    With controls that are named it shares its network calls with no other.
    """

    prompts: tuple[str, ...]
    guidance: float | None = None
    negative: str = ""
    size: tuple[int, int] | None = None
    strength: float = 1.0
    controls: tuple[AnyControl | str, ...] | Literal["auto"] = "auto"


@dataclass(frozen=True)
class Edited:
    """Pictures of a drawing's prompts, what they cost, and how many were drawn in the same network calls.

    `again` says that the inversion had to be made again first.
    """

    pictures: tuple[Picture, ...]
    cost: Cost
    batch: int
    again: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """A picture as a file's bytes, and what errors call it."""

    data: bytes
    name: str = "the image"


@dataclass(eq=False)
class Job(Generic[T]):
    """Work for a ticket. `drawing` is the id, its owner and what to draw of it, where that may be done with others.

    A `file` is decoded before the work is done, and is then in `pixels`.
    """

    ticket: Ticket[T]
    work: Callable[[Editor, Job[T]], T]
    drawing: tuple[str, str, Drawing] | None = None
    file: File | None = None
    pixels: np.ndarray | None = None
    started: float = 0.0

    def decoded(self) -> np.ndarray:
        """What was decoded of its file, which it gives up."""
        pixels, self.pixels = self.pixels, None
        assert pixels is not None
        return pixels

    @property
    def session(self) -> str:
        """Whose turn it takes."""
        return self.ticket.session

    @property
    def dead(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.ticket.stopped is not None

    @property
    def waited(self) -> float:
        """Seconds from its being asked for to its turn."""
        return self.started - self.ticket.submitted

    @property
    def rows(self) -> int:
        """How many pictures it draws."""
        return 1 if self.drawing is None else len(self.drawing[2].prompts)
