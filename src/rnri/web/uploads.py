"""Decoding of files before their jobs join the engine's queue, in processes of their own, sessions in turn."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from rnri.web.decoding import Decoder, Dropped
from rnri.web.jobs import Limits, QueuedJob
from rnri.web.queue import FairQueue

_LOG = logging.getLogger(__name__)
_LOOK = 0.5
"""Seconds between tests whether the client of a decoded image that waits for its turn has gone."""
_END = 2.0


class Uploads:
    """Decodes the files of jobs, and passes each job to `decoded`; of a session one file at a time.

    `room` tests whether another decoded image may be held. Both are called with the lock of `changed` held; outcomes
    are counted in `counts`. A job whose file is refused fails.
    """

    def __init__(
        self,
        limits: Limits,
        changed: threading.Condition,
        counts: Counter[str],
        decoded: Callable[[QueuedJob[Any]], None],
        room: Callable[[], bool],
    ) -> None:
        self._changed, self._counts, self._decoded, self._room = changed, counts, decoded, room
        self._queue: FairQueue[QueuedJob[Any]] = FairQueue()
        self._current: dict[str, QueuedJob[Any]] = {}
        self._stopped = False
        self._decoders = [Decoder(limits.pixels, limits.decoding) for _ in range(limits.decoders)]
        self._threads: list[threading.Thread] = []

    def __len__(self) -> int:
        """How many files wait; call with the lock held."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether no file waits or is decoded; call with the lock held."""
        return not self._current and not len(self._queue)

    def put(self, job: QueuedJob[Any]) -> None:
        """Queue a job whose file is to be decoded; call with the lock held."""
        self._queue.put(job)
        self.start()

    def start(self) -> None:
        """Start the processes, unless they run; call with the lock held."""
        if not self._threads and not self._stopped:
            for decoder in self._decoders:
                thread = threading.Thread(target=self._run, args=(decoder,), name="rnri-upload", daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> list[QueuedJob[Any]]:
        """Kill the processes; returns the jobs that are left. Call with the lock held."""
        self._stopped = True
        for decoder in self._decoders:
            decoder.stop()
        return [*self._queue.drain(), *self._current.values()]

    def join(self) -> None:
        """Wait until the processes have ended; call without the lock."""
        for thread in self._threads:
            thread.join(_END)

    def _next(self) -> QueuedJob[Any] | None:
        """The job whose file is decoded next; None once it is stopped."""
        with self._changed:
            while not self._stopped:
                if self._room():
                    job = self._queue.pop(lambda job: job.session not in self._current)
                    if job is not None:
                        self._current[job.session] = job
                        return job
                self._changed.wait(_LOOK if len(self._queue) else None)
            return None

    def _run(self, decoder: Decoder) -> None:
        try:
            decoder.start()
            while job := self._next():
                outcome = self._decode(decoder, job)
                with self._changed:
                    self._counts[outcome] += 1
                    del self._current[job.session]
                    if job.pixels is not None and not self._stopped:
                        self._decoded(job)
                    self._changed.notify_all()
                del job  # its ticket is referenced by those alone who wait for it
        finally:
            decoder.close()

    def _decode(self, decoder: Decoder, job: QueuedJob[Any]) -> str:
        """Decode the file of a job; returns the outcome by its name in the engine's counts."""
        file, job.file = job.file, None
        assert file is not None
        try:
            job.pixels = decoder.decode(file.data, file.name, lambda: job.dead)
        except Dropped:
            return "stopped"
        except Exception as error:
            if not isinstance(error, ValueError):
                _LOG.exception("a fault in decoding")
            job.ticket.fail(error)
            return "failed"
        return "decoded"
