"""A process that decodes pictures from outside, within limits of processor time and memory.

It imports Pillow and numpy alone, and is started by `rnri.web.decoding`. Requests come on stdin, each a `REQUEST`, the
name and the file; answers go to stdout, each an `ANSWER` and its bytes. It ends with its stdin.
"""

from __future__ import annotations

import io
import math
import os
import signal
import struct
import sys
import time
from typing import BinaryIO

import numpy as np

from rnri import raster

REQUEST = struct.Struct("<QQ")
"""Bytes of the name, and of the file."""
ANSWER = struct.Struct("<cQQQ")
"""Which of `KINDS` it is or `ERROR`, height, width, bytes."""
KINDS: dict[bytes, str] = {b"b": "uint8", b"w": "uint16", b"f": "float32"}
ERROR, READY = b"e", b"r"


def main(max_pixels: int, seconds: int, memory: int) -> None:
    """Decode until stdin ends: each file in so many seconds of processor time, all in so many bytes more than now."""
    for number in ("SIGINT", "SIGTERM"):  # sent to all of a terminal or service; whoever started it ends it
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints is taken for an answer
    _limit_memory(memory)
    _answer(sink, READY, (0, 0), b"")
    while head := source.read(REQUEST.size):
        named, size = REQUEST.unpack(head)
        name, data = source.read(named).decode(), source.read(size)
        _limit_time(seconds)
        try:
            array = raster.decode(io.BytesIO(data), name, max_pixels)
        except ValueError as error:
            _answer(sink, ERROR, (0, 0), str(error).encode())
        except MemoryError:
            said = (
                f"{name} takes more than {memory >> 20} MiB to decode: scale it down, or save it again as a plain PNG"
            )
            _answer(sink, ERROR, (0, 0), said.encode())
        else:
            kind = next(kind for kind, dtype in KINDS.items() if dtype == array.dtype.name)
            _answer(sink, kind, array.shape, np.ascontiguousarray(array).data.cast("B"))
            del array


def _answer(sink: BinaryIO, kind: bytes, shape: tuple[int, ...], data: bytes | memoryview) -> None:
    sink.write(ANSWER.pack(kind, shape[0], shape[1], len(data)))
    sink.write(data)
    sink.flush()


if sys.platform == "win32":

    def _limit_time(seconds: int) -> None:
        """There is no such limit: the one of wall time stands."""

else:
    import resource

    def _limit_time(seconds: int) -> None:
        """Have the process killed once it has worked this much longer; the kernel counts whole seconds."""
        until, most = math.ceil(time.process_time() + seconds), resource.getrlimit(resource.RLIMIT_CPU)[1]
        if most != resource.RLIM_INFINITY:
            until = min(until, most)
        resource.setrlimit(resource.RLIMIT_CPU, (until, most))


if sys.platform == "linux":

    def _limit_memory(memory: int) -> None:
        """Have allocations fail beyond this much more than there is, and no core dumped."""
        with open("/proc/self/statm") as sizes:
            now = int(sizes.read().split()[0]) * resource.getpagesize()
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = now + memory if most == resource.RLIM_INFINITY else min(now + memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

else:

    def _limit_memory(memory: int) -> None:
        """Other kernels do not count what a process reserves: `max_pixels` bounds what a picture takes."""
