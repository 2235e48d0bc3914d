"""A small model behind a real server on a free port of this computer."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from rnri.editing.editor import Editor
from rnri.images import encode
from rnri.web.access import LOCAL_NAMES, Access
from rnri.web.api import Options, create_app
from rnri.web.engine import Engine, Limits
from rnri.web.serving import Address, Server, background
from tests import tiny

SOURCE, TARGET, OTHER = "a red ball on sand", "a blue ball on sand", "a small green cube"
FAST = {"steps": 2, "iterations": 1}


@contextmanager
def served(limits: Limits | None = None, options: Options | None = None) -> Iterator[tuple[str, Engine]]:
    """Its URL and its engine."""
    options = options or Options(Access(hosts=LOCAL_NAMES))
    with (
        Engine(Editor.from_pipe(tiny.pipeline()), limits) as engine,
        background(Server(create_app(engine, options), engine, Address(port=0), grace=20)) as url,
    ):
        yield url, engine


@contextmanager
def process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`rnri serve` as a process of its own, and its URL."""
    command = [sys.executable, "-m", "rnri", "serve", "--port", "0", "--device", "cpu", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert " at http://127.0.0.1:" in line
            yield server, line.split(" at ")[1].split(";")[0]
        finally:
            server.kill()


def hold(engine: Engine) -> threading.Event:
    """Occupy the engine's thread until the event is set, so that requests pile up."""
    held, go = threading.Event(), threading.Event()

    def work(_: Editor) -> None:
        held.set()
        assert go.wait(120)

    engine.do(work, session="test")
    assert held.wait(120)
    return go


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that must come true."""
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.01)


def picture(seed: int = 0, height: int = 20, width: int = 30) -> bytes:
    """A PNG file of noise."""
    return encode(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
