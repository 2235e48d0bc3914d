"""One model for many: a thread that owns the networks, a fair queue before it, and what it keeps between requests."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

from rnri_core.sampling.strength import strength_steps
from torch import Tensor

from rnri import images
from rnri.editing.editor import Editor
from rnri.images import ImageLike
from rnri.web.jobs import Drawing, Edited, File, Job, Limits
from rnri.web.queue import FairQueue
from rnri.web.store import Inverted, Kept, Settings, Store
from rnri.web.tickets import Closed, Full, Stopped, Superseded, Ticket
from rnri.web.uploads import Uploads
from rnri.web.watched import watched
from rnri.web.work import Missing, Work

__all__ = ["Drawing", "Edited", "Engine", "File", "Limits", "Missing"]

T = TypeVar("T")
LAST = 1.0
"""Seconds in which what was stopped may come to its next network call; what does not is left behind."""
STOPS = "the server stops: ask again in a while"
BROKEN = "the engine broke down: restart the server"

_LOG = logging.getLogger(__name__)


class Engine:
    """Inverts and edits for many threads with one editor, whose model is used by one thread alone.

    Sessions take turns. Of a session's requests marked `latest` only the newest is done: older ones are dropped, in
    the middle of their steps if need be, and never delivered. Edits that agree in steps, guidance and shape share
    their network calls; each gets the picture it would get alone, to the rounding of floats. Use it as a context, or
    `close` it.

    >>> from rnri.examples import DEMO, EDITS
    >>> from rnri.scenes.render import render
    >>> from rnri.scenes.captions import caption
    >>> with Engine(Editor.from_pretrained()) as engine:
    ...     found = engine.invert(render(DEMO), caption(DEMO)).result()
    ...     edited = engine.edit(found.id, Drawing(("a blue metal ball on sand",))).result()
    >>> edited.pictures[0].size, edited.cost.nfe
    ((128, 128), 4)
    """

    def __init__(self, editor: Editor, limits: Limits | None = None) -> None:
        self.editor = editor
        self.limits = limits or Limits()
        self.store = Store(self.limits.bytes)
        self._work = Work(self.store)
        self.counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._queue: FairQueue[Job[Any]] = FairQueue()
        self._uploads = Uploads(self.limits, self._changed, self.counts, self._queue.put, self._room)
        self._running: list[Job[Any]] = []
        self._newest: WeakValueDictionary[str, Ticket[Any]] = WeakValueDictionary()
        self._closing: str = ""
        self._until = 0.0
        self._pace = 0.5  # seconds a job takes, by the last few
        self._worker = threading.Thread(target=self._run, name="rnri-engine", daemon=True)
        self._worker.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        with self._changed:
            return len(self._queue) + len(self._uploads)

    @property
    def closing(self) -> str:
        """Why it takes on nothing any more; empty while it does."""
        return self._closing

    @property
    def alive(self) -> bool:
        """Whether its thread runs, which nothing can end within a network call."""
        return self._worker.is_alive()

    def warm(self) -> None:
        """Start the processes that decode files, which are started by the first file otherwise."""
        with self._changed:
            self._uploads.start()

    def invert(
        self,
        image: File | bytes | ImageLike,
        prompt: str | Callable[[Tensor], str],
        settings: Settings | None = None,
        *,
        owner: str = "",
        session: str = "",
        latest: bool = False,
        seconds: float | None = None,
    ) -> Ticket[Inverted]:
        """Invert a picture, given as a file's bytes or in any form of `rnri.images.read`, and keep the inversion.

        Bytes are decoded in another process. A `prompt` may be what makes one of pixels (1, 3, H, W) in [-1, 1].
        Raises `Full` or `Closed`; the ticket raises ValueError for a picture or a setting that is none.
        """
        how, ticket = settings or Settings(), Ticket[Inverted](session, self._seconds(seconds))
        file = File(image) if isinstance(image, bytes) else image if isinstance(image, File) else None
        given = None if isinstance(image, bytes | File) else image
        work = partial(self._work.invert, given=given, prompt=prompt, how=how, owner=owner)
        return self._submit(Job(ticket, work, file=file), latest)

    def decode(self, file: File, *, session: str = "", seconds: float | None = None) -> Ticket[Tensor]:
        """The picture in a file, decoded in another process, as `rnri.images.read` gives it.

        Raises `Full` or `Closed`; the ticket raises ValueError for what is no picture.
        """
        ticket = Ticket[Tensor](session, self._seconds(seconds))
        return self._submit(Job(ticket, lambda _, job: images.read(job.decoded()), file=file), False)

    def edit(
        self,
        id: str,
        drawing: Drawing,
        *,
        owner: str = "",
        session: str = "",
        latest: bool = False,
        seconds: float | None = None,
    ) -> Ticket[Edited]:
        """Draw a kept inversion with other prompts, inverting again where it had to be given up for others.

        Raises `Full` or `Closed`; the ticket raises `Missing` for an id that is not this owner's, ValueError for a
        setting that is none.
        """
        ticket = Ticket[Edited](session, self._seconds(seconds))
        job = Job(ticket, lambda editor, job: self._work.edit(editor, [job])[0], (id, owner, drawing))
        return self._submit(job, latest)

    def do(
        self,
        work: Callable[[Editor], T],
        *,
        session: str = "",
        latest: bool = False,
        seconds: float | None = None,
    ) -> Ticket[T]:
        """Any other work with the editor, in the engine's thread; stopped, it ends at its next network call."""
        ticket = Ticket[T](session, self._seconds(seconds))
        return self._submit(Job(ticket, lambda editor, _: work(editor)), latest)

    def find(self, id: str, owner: str = "") -> Kept:
        """A kept inversion; `Missing` if this owner has none of this id."""
        return self._work.find(id, owner)

    def close(self, seconds: float = 30.0) -> bool:
        """Take on nothing more, do what waits, stop what is not done in time; whether all was done.

        What is stopped and comes to no network call within `LAST` seconds is left behind. A second call waits no longer
        than the first.
        """
        with self._changed:
            if not self._closing:
                self._closing, self._until = STOPS, time.monotonic() + seconds
            self._changed.notify_all()
        self._worker.join(max(0.0, self._until - time.monotonic()))
        done = not self._worker.is_alive()
        self._stop(Closed(self._closing))
        self._uploads.join()
        self._worker.join(max(0.0, self._until + LAST - time.monotonic()))
        return done

    def _stop(self, why: Closed) -> None:
        """Stop everything that waits or is at work."""
        with self._changed:
            left = [*self._queue.drain(), *self._uploads.stop(), *self._running]
            self._changed.notify_all()
        for job in left:
            job.ticket.stop(why)

    # --- the queue ----------------------------------------------------------------------------------------------

    def _seconds(self, asked: float | None) -> float:
        return self.limits.seconds if asked is None else min(asked, self.limits.seconds)

    def _submit(self, job: Job[T], latest: bool) -> Ticket[T]:
        with self._changed:
            if self._closing:
                raise Closed(self._closing)
            if latest:
                older = self._newest.get(job.session)
                if older is not None and older.stop(Superseded("a newer request took its place")):
                    self.counts["superseded"] += 1
                self._newest[job.session] = job.ticket
            waiting = len(self._queue) + len(self._uploads)
            if waiting >= self.limits.queue:
                self.counts["refused"] += 1
                raise Full(waiting, max(1.0, waiting * self._pace))
            self.counts["accepted"] += 1
            if job.file is None:
                self._queue.put(job)
            else:
                self._uploads.put(job)
            self._changed.notify_all()
        return job.ticket

    def _next(self) -> list[Job[Any]]:
        """The jobs to be done now: one, or several edits at once; none when all is done and the engine closes."""
        with self._changed:
            while (first := self._queue.pop()) is None:
                if self._closing and self._uploads.idle:
                    return []
                self._changed.wait()
            group, key = [first], self._key(first)
            until = time.monotonic() + self.limits.wait
            while key is not None and (room := self.limits.batch - sum(job.rows for job in group)) > 0:
                other = self._queue.pop(lambda job: job.rows <= room and self._key(job) == key)
                if other is not None:
                    group.append(other)
                elif (left := until - time.monotonic()) <= 0 or self._closing:
                    break
                else:
                    self._changed.wait(left)
            self._running = group
            self._changed.notify_all()  # there may be room for another picture
            return group

    def _room(self) -> bool:
        """Whether another decoded picture may wait for its turn."""
        return self._queue.count(lambda job: job.pixels is not None) < self.limits.decoders

    def _key(self, job: Job[Any]) -> Hashable | None:
        """What edits must agree in to share network calls; None for what shares none."""
        if job.drawing is None or self.limits.batch < 2:
            return None
        id, owner, drawing = job.drawing
        kept = self.store.get(id, owner)
        if kept is None or kept.inversion is None or drawing.controls not in ("auto", ()):
            return None
        source = kept.inversion
        steps = kept.table[-strength_steps(drawing.strength, len(kept.table)) :]
        shape = *source.noise.shape, source.noise_maps is None, source.guidance
        asked = drawing.guidance, drawing.negative, drawing.strength, drawing.controls
        return steps, shape, asked, drawing.size or source.size

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException:  # whatever it is, nobody may wait for a thread that is gone
            _LOG.exception("the engine broke down")
            self._closing = BROKEN
            self._stop(Closed(BROKEN))

    def _serve(self) -> None:
        while group := self._next():
            began = time.monotonic()
            for job in group:
                job.started = began
            self._do(group)
            with self._changed:
                self._running = []
            self._pace += 0.2 * ((time.monotonic() - began) / len(group) - self._pace)
            del group, job  # a ticket lives as long as somebody waits for it

    def _do(self, group: list[Job[Any]]) -> None:
        """Do the jobs, at once if there are several; each alone if that fails, so that none fails for another."""
        try:
            if len(group) == 1:
                results: Sequence[Any] = [group[0].work(self._editor(group), group[0])]
            else:
                results = self._work.edit(self._editor(group), cast("list[Job[Edited]]", group))
        except Stopped:
            self.counts["stopped"] += len(group)
        except Exception as error:
            if len(group) > 1:
                for job in group:
                    self._do([job])
                return
            self.counts["failed"] += 1
            group[0].ticket.fail(error)
        else:
            self.counts["groups"] += 1
            for job, result in zip(group, results, strict=True):
                self.counts["done" if job.ticket.finish(result) else "stopped"] += 1

    def _editor(self, group: list[Job[Any]]) -> Editor:
        """The editor, which stops before a network call that nobody waits for."""
        rows = sum(job.rows for job in group)

        def look(latents: int) -> None:
            reasons = [job.ticket.stopped for job in group]
            if all(reasons):
                raise next(filter(None, reasons))
            self.counts["calls"] += 1
            for job in group:
                job.ticket.calls += max(1, latents // rows)

        return Editor(watched(self.editor.model, look))
