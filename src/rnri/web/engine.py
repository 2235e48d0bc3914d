"""An engine: one model for many threads, with a fair queue before it and a store of inversions."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack, cast
from weakref import WeakValueDictionary

from rnri_core.inversion.config import InversionConfig
from rnri_core.sampling.strength import strength_steps
from torch import Tensor

from rnri import images
from rnri.editing.editor import Editor
from rnri.images import ImageLike
from rnri.web.call_hook import with_call_hook
from rnri.web.jobs import EditOutput, EditTask, ImageFile, Limits, QueuedJob
from rnri.web.queue import FairQueue
from rnri.web.results import InversionReport
from rnri.web.store import Store, StoredInversion
from rnri.web.tickets import Closed, Full, Stopped, Superseded, Ticket
from rnri.web.uploads import Uploads
from rnri.web.work import Missing, Work

__all__ = ["EditOutput", "EditTask", "Engine", "ImageFile", "Limits", "Missing"]

T = TypeVar("T")
LAST = 1.0
"""Seconds in which stopped work may reach its next network call; work that does not is abandoned."""
STOPS = "the server stops: ask again in a while"
BROKEN = "the engine broke down: restart the server"

_LOG = logging.getLogger(__name__)


class Queueing(TypedDict, total=False):
    """How a job is queued.

    Attributes:
        session: jobs of one session are done in order, sessions take turns.
        latest: drop older jobs of the session that are marked so.
        seconds: deadline, at most that of the limits.
    """

    session: str
    latest: bool
    seconds: float | None


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
    ...     inversion = engine.invert(render(DEMO), caption(DEMO)).result()
    ...     output = engine.edit(inversion.id, EditTask(("a blue metal ball on sand",))).result()
    >>> output.pictures[0].size, output.cost.nfe
    ((128, 128), 4)
    """

    def __init__(self, editor: Editor, limits: Limits | None = None) -> None:
        self.editor = editor
        self.limits = limits or Limits()
        self.store = Store(self.limits.bytes)
        self._work = Work(self.store)
        self.counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._queue: FairQueue[QueuedJob[Any]] = FairQueue()
        self._uploads = Uploads(self.limits, self._changed, self.counts, self._queue.put, self._has_room)
        self._running: list[QueuedJob[Any]] = []
        self._newest: WeakValueDictionary[str, Ticket[Any]] = WeakValueDictionary()
        self._closing: str = ""
        self._until = 0.0
        self._pace = 0.5  # seconds of a job, a running mean
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
        """How many jobs wait for their turn."""
        with self._changed:
            return len(self._queue) + len(self._uploads)

    @property
    def closing(self) -> str:
        """Why it accepts no more jobs; empty while it does."""
        return self._closing

    @property
    def alive(self) -> bool:
        """Whether its thread runs, which nothing can end within a network call."""
        return self._worker.is_alive()

    def warm(self) -> None:
        """Start the processes that decode files; otherwise the first file starts them."""
        with self._changed:
            self._uploads.start()

    def invert(
        self,
        image: ImageFile | bytes | ImageLike,
        prompt: str | Callable[[Tensor], str],
        config: InversionConfig | None = None,
        *,
        owner: str = "",
        **queueing: Unpack[Queueing],
    ) -> Ticket[InversionReport]:
        """Invert an image and store the inversion.

        Args:
            image: a file's bytes, which are decoded in another process, or any form of `rnri.images.read`.
            prompt: the source prompt, or a function that captions pixels (1, 3, H, W) in [-1, 1].
            config: settings of the inversion.
            owner: who may use the inversion.
            queueing: see `Queueing`.

        Returns:
            A ticket, which raises `RnriError` for an image or a setting that is refused.

        Raises:
            Full, Closed: where the job is not accepted.
        """
        file = ImageFile(image) if isinstance(image, bytes) else image if isinstance(image, ImageFile) else None
        work = partial(
            self._work.invert,
            image=None if isinstance(image, bytes | ImageFile) else image,
            prompt=prompt,
            config=config or InversionConfig(),
            owner=owner,
        )
        return self._submit(work, file=file, **queueing)

    def decode(self, file: ImageFile, **queueing: Unpack[Queueing]) -> Ticket[Tensor]:
        """The image in a file, decoded in another process, as `rnri.images.read` returns it; see `invert`."""
        return self._submit(lambda _, job: images.read(job.take_pixels()), file=file, **queueing)

    def edit(self, id: str, task: EditTask, *, owner: str = "", **queueing: Unpack[Queueing]) -> Ticket[EditOutput]:
        """Edit a stored inversion, which is recomputed where it was evicted; see `invert`.

        The ticket raises `Missing` for an id that is not this owner's.
        """
        return self._submit(lambda editor, job: self._work.edit(editor, [job])[0], edit=(id, owner, task), **queueing)

    def do(self, work: Callable[[Editor], T], **queueing: Unpack[Queueing]) -> Ticket[T]:
        """Any other work with the editor, in the engine's thread; stopped, it ends at its next network call."""
        return self._submit(lambda editor, _: work(editor), **queueing)

    def find(self, id: str, owner: str = "") -> StoredInversion:
        """A stored inversion; `Missing` if this owner has none of this id."""
        return self._work.find(id, owner)

    def close(self, seconds: float = 30.0) -> bool:
        """Accept no more jobs, finish those that wait, stop those that are not done in time; whether all were done.

        Stopped work that reaches no network call within `LAST` seconds is abandoned. A second call waits no longer than
        the first.
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
        """Stop all jobs that wait or run."""
        with self._changed:
            left = [*self._queue.drain(), *self._uploads.stop(), *self._running]
            self._changed.notify_all()
        for job in left:
            job.ticket.stop(why)

    # --- the queue ----------------------------------------------------------------------------------------------

    def _submit(
        self,
        work: Callable[[Editor, QueuedJob[T]], T],
        *,
        edit: tuple[str, str, EditTask] | None = None,
        file: ImageFile | None = None,
        session: str = "",
        latest: bool = False,
        seconds: float | None = None,
    ) -> Ticket[T]:
        limit = self.limits.seconds
        job = QueuedJob(Ticket(session, limit if seconds is None else min(seconds, limit)), work, edit, file)
        with self._changed:
            if self._closing:
                raise Closed(self._closing)
            if latest:
                older = self._newest.get(session)
                if older is not None and older.stop(Superseded("a newer request took its place")):
                    self.counts["superseded"] += 1
                self._newest[session] = job.ticket
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

    def _next(self) -> list[QueuedJob[Any]]:
        """The jobs to do now: one, or several edits in one batch; none once the engine closes and all are done."""
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
            self._changed.notify_all()  # there may be room for another image
            return group

    def _has_room(self) -> bool:
        """Whether another decoded image may wait for its turn."""
        return self._queue.count(lambda job: job.pixels is not None) < self.limits.decoders

    def _key(self, job: QueuedJob[Any]) -> Hashable | None:
        """What edits must agree in to share network calls; None for a job that shares none."""
        if job.edit is None or self.limits.batch < 2:
            return None
        id, owner, task = job.edit
        stored, config = self.store.get(id, owner), task.config
        if stored is None or stored.inversion is None:
            return None
        if config.chosen not in ("auto", ()) or config.steps is not None:
            return None
        source = stored.inversion
        steps = stored.table[-strength_steps(task.strength, len(stored.table)) :]
        shape = *source.noise.shape, source.noise_maps is None, source.guidance
        settings = config.guidance, config.negative, config.chosen, task.strength
        return steps, shape, settings, task.size or source.size

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException:  # of any kind: nobody may wait for a thread that has ended
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
            del group, job  # its ticket is referenced by those alone who wait for it

    def _do(self, group: list[QueuedJob[Any]]) -> None:
        """Do the jobs, several in one batch; each alone if that fails, so that none fails for another."""
        try:
            if len(group) == 1:
                results: Sequence[Any] = [group[0].work(self._editor(group), group[0])]
            else:
                results = self._work.edit(self._editor(group), cast("list[QueuedJob[EditOutput]]", group))
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

    def _editor(self, group: list[QueuedJob[Any]]) -> Editor:
        """The editor, with a hook that ends the work before a network call that nobody waits for."""
        rows = sum(job.rows for job in group)

        def before_call(latents: int) -> None:
            reasons = [job.ticket.stopped for job in group]
            if all(reasons):
                raise next(filter(None, reasons))
            self.counts["calls"] += 1
            for job in group:
                job.ticket.calls += max(1, latents // rows)

        return Editor(with_call_hook(self.editor.model, before_call))
