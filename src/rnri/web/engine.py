"""One model for many: a thread that owns the networks, a fair queue before it, and what it keeps between requests."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from rnri import images
from rnri.controls import Control
from rnri.editor import Editor, Timings
from rnri.fidelity import fidelity, residual, status
from rnri.images import ImageLike, Picture
from rnri.inversion import Inversion
from rnri.web.batch import ending, joined
from rnri.web.queue import FairQueue
from rnri.web.store import Cost, Inverted, Kept, Quality, Settings, Store
from rnri.web.tickets import Closed, Full, Stopped, Superseded, Ticket
from rnri.web.watched import heard, watched

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How much an engine takes on. `wait` is how many seconds an edit waits for others to share its network calls."""

    queue: int = 64
    batch: int = 8
    wait: float = 0.005
    bytes: int = 256 * 2**20
    seconds: float = 60.0
    pixels: int = 16_000_000


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn from an inversion, in the names of `Editor.edit`; `strength` keeps its last steps only.

    With controls that are not the usual ones it shares its network calls with no other.
    """

    prompts: tuple[str, ...]
    guidance: float | None = None
    negative: str = ""
    size: tuple[int, int] | None = None
    strength: float = 1.0
    controls: tuple[Control | str, ...] | None = None


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


@dataclass(eq=False)
class _Job(Generic[T]):
    """Work for a ticket. `drawing` is the id, its owner and what to draw of it, where that may be done with others."""

    ticket: Ticket[T]
    work: Callable[[Editor, _Job[T]], T]
    drawing: tuple[str, str, Drawing] | None = None
    started: float = 0.0

    @property
    def session(self) -> str:
        return self.ticket.session

    @property
    def dead(self) -> bool:
        return self.ticket.stopped is not None

    @property
    def waited(self) -> float:
        return self.started - self.ticket.submitted


class Missing(LookupError):
    """There is no inversion of this id for who asks; whether another has one is not told."""


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
        self.counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._queue: FairQueue[_Job[Any]] = FairQueue()
        self._running: list[_Job[Any]] = []
        self._newest: WeakValueDictionary[str, Ticket[Any]] = WeakValueDictionary()
        self._closing = False
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
            return len(self._queue)

    @property
    def closing(self) -> bool:
        """Whether it takes on nothing any more."""
        return self._closing

    def invert(
        self,
        image: bytes | ImageLike,
        prompt: str,
        settings: Settings | None = None,
        *,
        owner: str = "",
        session: str = "",
        latest: bool = False,
        seconds: float | None = None,
    ) -> Ticket[Inverted]:
        """Invert a picture, given as a file's bytes or in any form of `rnri.images.read`, and keep the inversion.

        Raises `Full` or `Closed`; the ticket raises ValueError for a picture or a setting that is none.
        """
        how, ticket = settings or Settings(), Ticket[Inverted](session, self._seconds(seconds))
        work = partial(self._invert, image=image, prompt=prompt, how=how, owner=owner)
        return self._submit(_Job(ticket, work), latest)

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
        job = _Job(ticket, lambda editor, job: self._edit(editor, [job])[0], (id, owner, drawing))
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
        return self._submit(_Job(ticket, lambda editor, _: work(editor)), latest)

    def find(self, id: str, owner: str = "") -> Kept:
        """A kept inversion; `Missing` if this owner has none of this id."""
        kept = self.store.get(id, owner)
        if kept is None:
            raise Missing(f"there is no inversion {id!r}: invert the image first, or again")
        return kept

    def close(self, seconds: float = 30.0) -> bool:
        """Take on nothing more, do what waits, stop what is not done in time; whether all was done."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._worker.join(seconds)
        done = not self._worker.is_alive()
        with self._changed:
            left = [*self._queue.drain(), *self._running]
            self._changed.notify_all()
        for job in left:
            job.ticket.stop(Closed("the server stops: ask again in a while"))
        self._worker.join()
        return done

    # --- the queue ----------------------------------------------------------------------------------------------

    def _seconds(self, asked: float | None) -> float:
        return self.limits.seconds if asked is None else min(asked, self.limits.seconds)

    def _submit(self, job: _Job[T], latest: bool) -> Ticket[T]:
        with self._changed:
            if self._closing:
                raise Closed("the server stops: ask again in a while")
            if latest:
                older = self._newest.get(job.session)
                if older is not None and older.stop(Superseded("a newer request took its place")):
                    self.counts["superseded"] += 1
                self._newest[job.session] = job.ticket
            waiting = len(self._queue)
            if waiting >= self.limits.queue:
                self.counts["refused"] += 1
                raise Full(waiting, max(1.0, waiting * self._pace))
            self.counts["accepted"] += 1
            self._queue.put(job)
            self._changed.notify_all()
        return job.ticket

    def _next(self) -> list[_Job[Any]]:
        """The jobs to be done now: one, or several edits at once; none when all is done and the engine closes."""
        with self._changed:
            while (first := self._queue.pop()) is None:
                if self._closing:
                    return []
                self._changed.wait()
            group, key = [first], self._key(first)
            until = time.monotonic() + self.limits.wait
            while key is not None and (room := self.limits.batch - sum(map(_rows, group))) > 0:
                other = self._queue.pop(lambda job: _rows(job) <= room and self._key(job) == key)
                if other is not None:
                    group.append(other)
                elif (left := until - time.monotonic()) <= 0 or self._closing:
                    break
                else:
                    self._changed.wait(left)
            self._running = group
            return group

    def _key(self, job: _Job[Any]) -> Hashable | None:
        """What edits must agree in to share network calls; None for what shares none."""
        if job.drawing is None or self.limits.batch < 2:
            return None
        id, owner, drawing = job.drawing
        kept = self.store.get(id, owner)
        if kept is None or kept.inversion is None or drawing.controls:
            return None
        source = kept.inversion
        steps = kept.table[-max(1, int(len(kept.table) * drawing.strength + 1e-9)) :]
        shape = *source.noise.shape, source.corrections is None, source.guidance
        asked = drawing.guidance, drawing.negative, drawing.strength, drawing.controls
        return steps, shape, asked, drawing.size or source.size

    def _run(self) -> None:
        while group := self._next():
            began = time.monotonic()
            for job in group:
                job.started = began
            self._do(group)
            with self._changed:
                self._running = []
            self._pace += 0.2 * ((time.monotonic() - began) / len(group) - self._pace)
            del group  # a ticket lives as long as somebody waits for it

    def _do(self, group: list[_Job[Any]]) -> None:
        """Do the jobs, at once if there are several; each alone if that fails, so that none fails for another."""
        try:
            if len(group) == 1:
                results: Sequence[Any] = [group[0].work(self._editor(group), group[0])]
            else:
                results = self._edit(self._editor(group), cast("list[_Job[Edited]]", group))
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

    def _editor(self, group: list[_Job[Any]]) -> Editor:
        """The editor, which stops before a network call that nobody waits for."""
        rows = sum(map(_rows, group))

        def look(latents: int) -> None:
            reasons = [job.ticket.stopped for job in group]
            if all(reasons):
                raise next(filter(None, reasons))
            self.counts["calls"] += 1
            for job in group:
                job.ticket.calls += max(1, latents // rows)

        return Editor(watched(self.editor.model, look))

    # --- the work -----------------------------------------------------------------------------------------------

    def _invert(
        self,
        editor: Editor,
        job: _Job[Inverted],
        *,
        image: bytes | ImageLike,
        prompt: str,
        how: Settings,
        owner: str,
    ) -> Inverted:
        timings = Timings()
        with timings.measure("encode"):
            if isinstance(image, bytes):
                pixels = images.decode(image, max_pixels=self.limits.pixels)
            else:
                pixels = images.read(image)
        encoded = editor.encode(pixels, timings=timings)
        with heard() as remarks:
            found = editor.invert(encoded, prompt, timings=timings, **asdict(how))
        reached = fidelity(editor, found, pixels)
        quality = Quality(reached.reconstruction, reached.autoencoder_bound, status(found).name, residual(found))
        cost = Cost(found.nfe, found.njvp, found.nvjp, timings, job.waited)
        steps = len(found.schedule)
        about = Inverted(Store.new_id(), prompt, how, encoded.size, steps, quality, cost, tuple(remarks))
        if job.ticket.stopped is None:
            self.store.put(Kept(about, owner, encoded, found))
        return about

    def _edit(self, editor: Editor, group: list[_Job[Edited]]) -> list[Edited]:
        """The results of edits that agree, or of one."""
        timings, drawings, sources, again = Timings(), list[Drawing](), list[Inversion](), False
        with heard() as remarks:
            for job in group:
                id, owner, drawing = cast("tuple[str, str, Drawing]", job.drawing)
                kept = self.find(id, owner)
                again = kept.inversion is None
                source = self._again(editor, kept, timings) if kept.inversion is None else kept.inversion
                drawings.append(drawing)
                sources += [ending(source, drawing.strength)] * len(drawing.prompts)
            pictures = iter(
                editor.edit(
                    sources[0] if len(group) == 1 else joined(sources),
                    [prompt for drawing in drawings for prompt in drawing.prompts],
                    guidance=drawings[0].guidance,
                    negative=drawings[0].negative,
                    controls=drawings[0].controls,
                    size=drawings[0].size,
                    timings=timings,
                )
            )
        results = []
        for job, drawing in zip(group, drawings, strict=True):
            said = tuple(remarks if len(group) == 1 else self._remarks(drawing) if remarks else ())
            mine = tuple(next(pictures) for _ in drawing.prompts)
            cost = Cost(job.ticket.calls, 0, 0, timings, job.waited)
            results.append(Edited(mine, cost, len(sources), again, said))
        return results

    def _again(self, editor: Editor, kept: Kept, timings: Timings) -> Inversion:
        """An inversion that was given up, from the latents of its picture."""
        about = kept.about
        with heard():
            found = editor.invert(kept.encoded, about.prompt, timings=timings, **asdict(about.settings))
        self.store.restore(about.id, found)
        return found

    def _remarks(self, drawing: Drawing) -> list[str]:
        """What the model cannot read of a drawing's prompts."""
        with heard() as remarks:
            self.editor.model.embed(drawing.prompts)
        return remarks


def _rows(job: _Job[Any]) -> int:
    """How many pictures a job draws."""
    return 1 if job.drawing is None else len(job.drawing[2].prompts)
