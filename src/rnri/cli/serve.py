"""`rnri serve`: the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen
from rnri.cli.groups import option

if TYPE_CHECKING:
    from rnri.web.engine import Limits

NEEDS = (
    "fastapi",
    "uvicorn",
    "python_multipart",
    "prometheus_fastapi_instrumentator",
    "cachetools",
    "websockets",
    "httpx",
)

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any that is free.")]


@dataclass(frozen=True)
class LimitOptions:
    """Bounds of work, waiting and memory."""

    PANEL: ClassVar[str] = "Limits"

    queue: int = option(64, "Requests that may wait.", min=1, max=10_000)
    batch: int = option(8, "Images sampled in the same calls.", min=1, max=256)
    wait: float = option(5.0, "Milliseconds an edit waits for others to share its calls.", min=0.0, max=1000.0)
    cache: int = option(256, "MiB of stored inversions.", min=1, max=2**20)
    deadline: float = option(60.0, "Seconds after which a request is given up.", min=0.001, max=3600.0)
    grace: float = option(30.0, "Seconds to finish in after a signal to stop.", min=0.0, max=3600.0)
    max_pixels: int = option(16_000_000, "Pixels of an image.", min=1, max=2**30)
    max_bytes: int = option(20 * 2**20, "Bytes of a request.", min=1, max=2**30)

    def engine(self) -> Limits:
        """Those of the engine."""
        from rnri.web.engine import Limits

        wait, memory = self.wait / 1000, self.cache * 2**20
        return Limits(self.queue, self.batch, wait=wait, bytes=memory, seconds=self.deadline, pixels=self.max_pixels)


def serve(
    model: options.ModelOptions,
    limits: LimitOptions,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key_file: Annotated[Path | None, typer.Option(help="Keys, one a line; every request carries one.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve everyone on the network, without a key.")] = False,
    allow_origin: Annotated[list[str] | None, typer.Option(help="A page whose scripts may use it; repeat it.")] = None,
) -> None:
    """Serve edits over HTTP, to this computer alone by default.

    Ctrl-C or SIGTERM stops it after the requests that it has accepted. The API is described at /openapi.json.
    """
    model.check_preview()
    require("serving", NEEDS, "serve")

    from rnri.editing.editor import Timings
    from rnri.web.access import LOCAL_NAMES, Access, loopback, read_keys
    from rnri.web.api import Options, create_app
    from rnri.web.engine import Engine
    from rnri.web.serving import Address, Server, check_address, leave

    keys = read_keys(api_key_file) if api_key_file else frozenset()
    local = LOCAL_NAMES if loopback(host) and not keys else frozenset()
    access = Access(keys, local, frozenset(origin.rstrip("/") for origin in allow_origin or ()))
    check_address(host, access, insecure=insecure)
    with screen.progress() as tell:
        editor = model.editor(Timings(), tell)
    with Engine(editor, limits.engine()) as engine:
        api = create_app(engine, Options(access, limits.max_bytes))
        server = Server(api, engine, Address(host, port), grace=limits.grace)
        finished = server.run(lambda: screen.show(f"serving {model.name} at {server.url}; Ctrl-C or SIGTERM stops it"))
    screen.show("stopped" if finished else "stopped; what was not done in time was given up")
    leave(engine)


def require(what: str, modules: tuple[str, ...], extra: str) -> None:
    """Raise ``RnriError`` with the command that installs an extra, where one of its modules is missing."""
    for module in modules:
        if find_spec(module) is None:
            raise RnriError(f"{what} needs {module}", hint=f"run pip install 'rnri[{extra}]'")
