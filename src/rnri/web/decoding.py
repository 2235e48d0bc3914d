"""Decoding of clients' images in processes, each killed and replaced at its limits.

A file of some hundred kilobytes can take minutes to decode, and no thread can be interrupted in a library's loop.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
from rnri_core.errors import RnriError

from rnri.web import decoder

if sys.platform == "linux":
    import fcntl

PER_PIXEL = 64
"""Bytes of decoding for each pixel allowed: some copies of four channels, and a JPEG's coefficients."""
LEAST = 256 * 2**20
"""Bytes of decoding in any case."""
SLACK = 3.0
"""Wall time of an image over its limit of processor time, for a processor that others use as well."""

_CODE = "import sys; sys.path[:] = {path}; from rnri.web import decoder; decoder.main({pixels}, {seconds}, {memory})"
_ROOM = 2**20
_POLL = 0.05
_OUT_OF_TIME = (-getattr(signal, "SIGXCPU", 0) or None,)
"""The exit code of a process beyond its processor time."""


class Dropped(Exception):
    """Nobody waits for the image any more."""


class Decoder:
    """A process that decodes images one by one, started when it is first needed; for one thread at a time.

    An image has at most `pixels`, and takes at most `seconds` of processor time, and `SLACK` times that of wall time.
    """

    def __init__(self, pixels: int, seconds: int) -> None:
        self._seconds = seconds
        memory = LEAST + PER_PIXEL * pixels
        code = _CODE.format(path=json.dumps(sys.path), pixels=pixels, seconds=seconds, memory=memory)
        self._command = [sys.executable, "-I", "-c", code]
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = self._stopped = False
        self._pipe = ThreadPoolExecutor(1, "rnri-decoder")

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        self._ready = False
        self._process = subprocess.Popen(
            self._command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        _widen(self._process)

    def decode(self, data: bytes, name: str = "the image", stopped: Callable[[], bool] = lambda: False) -> np.ndarray:
        """The image in a file, as `rnri.raster.decode` returns it.

        Raises RnriError, which calls the file `name`, for a file that is refused and at a limit; `Dropped` once
        `stopped` returns true or the decoder is stopped; RuntimeError if no process can be started.
        """
        if self._process is None:
            self.start()
        reply, until = self._pipe.submit(self._exchange, data, name), time.monotonic() + SLACK * self._seconds
        try:
            while not wait([reply], _POLL).done:
                if stopped():
                    raise Dropped
                if time.monotonic() > until:
                    raise RnriError(self._refusal(name, slow=True), field="image")
            return reply.result()
        except (OSError, EOFError):  # it ended
            was_ready, code = self._ready, self._end()
            if self._stopped:
                raise Dropped from None
            if not was_ready:
                raise RuntimeError(f"the process that decodes images ended with {code} as it started") from None
            raise RnriError(self._refusal(name, slow=code in _OUT_OF_TIME), field="image") from None
        finally:
            if not reply.done():
                self._end()
            if self._process is None and not self._stopped:
                self.start()

    def stop(self) -> None:
        """Kill the process for good; from any thread."""
        self._stopped, process = True, self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process, and close its pipes."""
        self._stopped = True
        self._end()
        self._pipe.shutdown(wait=False)

    def _refusal(self, name: str, *, slow: bool) -> str:
        why = f"takes more than {self._seconds} s to decode" if slow else "cannot be decoded"
        return f"{name} {why}: save it again as a plain PNG or JPEG"

    def _exchange(self, data: bytes, name: str) -> np.ndarray:
        """Send a file to the process, and wait for its answer."""
        process = self._process
        assert process is not None
        if not self._ready:
            _read(process, bytearray(decoder.ANSWER.size))
            self._ready = True
        named = name.encode()
        for part in (decoder.REQUEST.pack(len(named), len(data)) + named, data):
            _write(process, part)
        kind, height, width, size = decoder.ANSWER.unpack(_read(process, bytearray(decoder.ANSWER.size)))
        if kind == decoder.ERROR:
            raise RnriError(bytes(_read(process, bytearray(size))).decode(), field="image")
        array = np.empty(size, np.uint8)
        _read(process, array.data)
        flat = array.view(decoder.KINDS[kind])
        return flat.reshape(height, width, -1) if kind == b"b" else flat.reshape(height, width)

    def _end(self) -> int | None:
        """Kill the process; returns its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        code = process.wait()
        self._pipe.submit(bool).result()  # the thread at the pipes has seen their end
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return code


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Enlarge the pipes where the system allows it: each turn of the two processes then moves more pixels."""
    if sys.platform == "linux":
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _ROOM)


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    left = memoryview(data)
    while left:
        left = left[process.stdin.write(left) :]


def _read(process: subprocess.Popen[bytes], into: bytearray | memoryview) -> bytearray | memoryview:
    """The buffer, filled; EOFError where the process ended first."""
    assert process.stdout is not None
    left = memoryview(into)
    while left:
        count = process.stdout.readinto(left)  # type: ignore[attr-defined]  # unbuffered, it is a raw file
        if not count:
            raise EOFError
        left = left[count:]
    return into
