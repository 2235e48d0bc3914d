"""Jobs of an engine: its limits, edits to make, and jobs on their way through its queues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.images import Picture
from rnri.web.results import ComputeCost
from rnri.web.tickets import Ticket

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How much an engine accepts.

    Attributes:
        queue: jobs that may wait.
        batch: images that are sampled in the same network calls.
        wait: seconds that an edit waits for others to share its network calls.
        bytes: memory of stored inversions.
        seconds: deadline of a job.
        pixels: of a file.
        decoders: processes that decode files.
        decoding: seconds of processor time that a file may take there.
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
class EditTask:
    """An edit of a stored inversion: target prompts, sampled in one batch as `Editor.edit` samples them.

    Attributes:
        prompts: the target prompts.
        config: settings of the edit. With controls or `steps` it shares no network calls with other edits.
        size: (width, height) of the results in pixels; that of the image that was inverted.
        strength: share of the inverted steps that is sampled again, in (0, 1].
    """

    prompts: tuple[str, ...]
    config: EditConfig = field(default_factory=EditConfig)
    size: tuple[int, int] | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class EditOutput:
    """Images of an edit.

    Attributes:
        pictures: one for each target prompt.
        cost: network evaluations for them, and seconds.
        batch: images that were sampled in the same network calls.
        recomputed: whether the inversion had been evicted and was made anew.
        remarks: words of the prompts outside the model's vocabulary.
    """

    pictures: tuple[Picture, ...]
    cost: ComputeCost
    batch: int
    recomputed: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class ImageFile:
    """An image as a file's bytes, and its name in errors."""

    data: bytes
    name: str = "the image"


@dataclass(eq=False)
class QueuedJob(Generic[T]):
    """Work for a ticket. A `file` is decoded into `pixels` before the work starts.

    `edit` is the id of an inversion, its owner and the task, for work that may share network calls.
    """

    ticket: Ticket[T]
    work: Callable[[Editor, QueuedJob[T]], T]
    edit: tuple[str, str, EditTask] | None = None
    file: ImageFile | None = None
    pixels: np.ndarray | None = None
    started: float = 0.0

    def take_pixels(self) -> np.ndarray:
        """The decoded file, which the job then no longer holds."""
        pixels, self.pixels = self.pixels, None
        assert pixels is not None
        return pixels

    @property
    def session(self) -> str:
        """The session whose turn it takes."""
        return self.ticket.session

    @property
    def dead(self) -> bool:
        """Whether its ticket is stopped."""
        return self.ticket.stopped is not None

    @property
    def waited(self) -> float:
        """Seconds in the queue."""
        return self.started - self.ticket.submitted

    @property
    def rows(self) -> int:
        """How many images it samples."""
        return 1 if self.edit is None else len(self.edit[2].prompts)
