"""A real browser and a served page, for the tests that need both."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from rnri.evaluation.page import chromium

_CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """A Chromium that is installed here, with a camera that is not one; skips where there is none."""
    with contextlib.ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium(*_CAMERA))
        except ValueError as missing:
            pytest.skip(str(missing))
        yield browser


class Server:
    """`rnri ui` as a process of its own, which can be stopped and started again at the same address."""

    def __init__(self) -> None:
        self.port = "0"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it says where it is."""
        command = [sys.executable, "-m", "rnri", "ui", "--port", self.port, "--device", "cpu"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        assert found, f"the page does not say where it is: {said!r}"
        self.port, self.address = found[1], found[0]

    def stop(self) -> int:
        """End it as Ctrl-C does, and give its exit code."""
        self.process.send_signal(signal.SIGINT)
        with self.process:
            return self.process.wait(60)


def outside(requests: list[str]) -> list[str]:
    """Those of the addresses that were asked for which are on other machines."""
    return [url for url in requests if urlsplit(url).hostname not in (None, "127.0.0.1")]
