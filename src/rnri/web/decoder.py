"""A process that decodes images of clients, within limits of processor time and memory.

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
"""One of `KINDS` or `ERROR`, height, width, bytes."""
KINDS: dict[bytes, str] = {b"b": "uint8", b"w": "uint16", b"f": "float32"}
ERROR, READY = b"e", b"r"


def main(max_pixels: int, seconds: int, memory: int) -> None:
    """Decode files until stdin ends.

    Args:
        max_pixels: of a file.
        seconds: of processor time for a file.
        memory: bytes that the process may allocate beyond those at its start.
    """
    for number in ("SIGINT", "SIGTERM"):  # sent to all processes of a terminal or service; its parent ends it
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a line that a library prints is not read as an answer
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
            problem = (
                f"{name} takes more than {memory >> 20} MiB to decode: scale it down, or save it again as a plain PNG"
            )
            _answer(sink, ERROR, (0, 0), problem.encode())
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
        """No limit of processor time exists: the one of wall time remains."""

else:
    import resource

    def _limit_time(seconds: int) -> None:
        """Limit the further processor time; the kernel kills the process, and counts whole seconds."""
        until, most = math.ceil(time.process_time() + seconds), resource.getrlimit(resource.RLIMIT_CPU)[1]
        if most != resource.RLIM_INFINITY:
            until = min(until, most)
        resource.setrlimit(resource.RLIMIT_CPU, (until, most))


if sys.platform == "linux":

    def _limit_memory(memory: int) -> None:
        """Limit the memory beyond the present one, and dump no core."""
        with open("/proc/self/statm") as sizes:
            now = int(sizes.read().split()[0]) * resource.getpagesize()
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = now + memory if most == resource.RLIM_INFINITY else min(now + memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

else:

    def _limit_memory(memory: int) -> None:
        """Other kernels do not count reserved memory: `max_pixels` bounds that of an image."""
