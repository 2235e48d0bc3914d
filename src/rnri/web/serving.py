"""A server of an application: its address, its start, its orderly stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from rnri_core.errors import RnriError

from rnri.web.access import Access, loopback
from rnri.web.bodies import MAX_TEXT
from rnri.web.engine import LAST, Engine

REST = 2.0
"""Seconds from the end of the work to the end of the connections."""
_LOOK = 0.1


@dataclass(frozen=True)
class Address:
    """Where a server listens; port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8000


def check_address(host: str, access: Access, *, insecure: bool) -> None:
    """Raise RnriError if anybody on the network could use a server that listens there."""
    if access.open and not insecure and not loopback(host):
        raise RnriError(
            f"--host {host} lets everyone on the network use the server",
            hint="give --api-key-file, or say --insecure if that is wanted",
        )


class Server:
    """Serves an application until it is stopped; its engine then finishes its jobs, within ``grace`` seconds.

    Meanwhile requests are answered 503. Raises RnriError where the address is not available.
    """

    def __init__(self, app: FastAPI, engine: Engine, address: Address, *, grace: float = 30.0) -> None:
        self._engine, self._grace, self._finished = engine, grace, True
        self._stopping: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = _listen(address)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws_max_size=4 * MAX_TEXT,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=round(REST),
            )
        )

    def run(self, ready: Callable[[], None] = lambda: None) -> bool:
        """Serve, and call `ready` once requests are accepted. Returns whether all accepted jobs were finished."""
        self._engine.warm()
        asyncio.run(self._run(ready))
        return self._finished

    def stop(self) -> None:
        """Stop the server; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin_to_stop)

    @property
    def patience(self) -> float:
        """Seconds from `stop` to the end of `run`, at most."""
        return self._grace + LAST + 2 * REST

    async def _run(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self._begin_to_stop)
        self._uvicorn.ready = ready
        await self._uvicorn.serve(sockets=[self._socket])

    def _begin_to_stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        """Close the engine while connections are open, then end them."""
        self._finished = await asyncio.get_running_loop().run_in_executor(None, self._engine.close, self._grace)
        self._uvicorn.should_exit = True


@contextmanager
def background(server: Server) -> Iterator[str]:
    """Run a server in a thread for the block, which gets its URL.

    Raises RuntimeError where it does not start, or does not stop within its `patience`.
    """
    ready, faults = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            server.run(ready.set)
        except BaseException as error:  # raised in the thread of the block
            faults.append(error)

    thread = threading.Thread(target=run, name="rnri-server", daemon=True)
    thread.start()
    while not ready.wait(_LOOK):
        if not thread.is_alive():
            raise RuntimeError(f"the server at {server.url} ended as it started") from next(iter(faults), None)
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(server.patience)
    if thread.is_alive():
        raise RuntimeError(f"the server at {server.url} did not stop within {server.patience:g} s")
    if faults:
        raise RuntimeError(f"the server at {server.url} failed") from faults[0]


def leave(engine: Engine) -> None:
    """End this process at once, with exit code 0, if the thread of a closed engine still runs.

    The interpreter would wait for it, or crash when it returns.
    """
    if engine.alive:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class _Uvicorn(uvicorn.Server):
    """Uvicorn without signal handlers, with a callback once it accepts connections."""

    ready: Callable[[], None]

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Capture none."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and call `ready`."""
        await super().startup(sockets)
        if not self.should_exit:
            self.ready()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RnriError(
            f"cannot listen on {address.host}, port {address.port} ({reason})", hint="choose another --port or --host"
        ) from error
