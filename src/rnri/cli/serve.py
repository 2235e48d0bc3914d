"""`rnri serve`: the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen

if TYPE_CHECKING:
    from rnri.web.engine import Limits

NEEDS = ("fastapi", "uvicorn", "python_multipart", "prometheus_fastapi_instrumentator", "cachetools", "websockets", "httpx")

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 is any that is free.")]


@dataclass(frozen=True)
class LimitOptions:
    """Bounds of work, waiting and memory."""

    PANEL: ClassVar[str] = "Limits"

    queue: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Requests that may wait.")] = 64
    batch: Annotated[int, typer.Option(min=1, max=256, metavar="N", help="Images sampled in the same calls.")] = 8
    wait: Annotated[
        float,
        typer.Option(min=0.0, max=1000.0, metavar="MS", help="Milliseconds an edit waits for others to share its calls."),
    ] = 5
    cache: Annotated[
        int, typer.Option(min=1, max=2**20, metavar="MIB", help="Memory for stored inversions.")
    ] = 256
    deadline: Annotated[
        float, typer.Option(min=0.001, max=3600.0, metavar="SECONDS", help="Time after which a request is given up.")
    ] = 60
    grace: Annotated[
        float, typer.Option(min=0.0, max=3600.0, metavar="SECONDS", help="Time to finish in after a signal to stop.")
    ] = 30
    max_pixels: Annotated[int, typer.Option(min=1, max=2**30, metavar="N", help="Pixels of an image.")] = 16_000_000
    max_bytes: Annotated[int, typer.Option(min=1, max=2**30, metavar="N", help="Bytes of a request.")] = 20 * 2**20

    def engine(self) -> Limits:
        """Those of the engine."""
        from rnri.web.engine import Limits

        return Limits(
            queue=self.queue,
            batch=self.batch,
            wait=self.wait / 1000,
            bytes=self.cache * 2**20,
            seconds=self.deadline,
            pixels=self.max_pixels,
        )


def serve(
    model: options.ModelOptions,
    limits: LimitOptions,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keys, one a line, of which every request must carry one."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve everyone on the network, without a key.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A page whose scripts may use it; repeat it for several.", show_default="none"),
    ] = None,
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
        finished = server.run(lambda: screen.say(f"serving {model.name} at {server.url}; Ctrl-C or SIGTERM stops it"))
    screen.say("stopped" if finished else "stopped; what was not done in time was given up")
    leave(engine)


def require(what: str, modules: tuple[str, ...], extra: str) -> None:
    """Raise ``RnriError`` with the command that installs an extra, where one of its modules is missing."""
    for module in modules:
        if find_spec(module) is None:
            raise RnriError(f"{what} needs {module}", hint=f"run pip install 'rnri[{extra}]'")
