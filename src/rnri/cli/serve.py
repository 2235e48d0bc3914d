"""`rnri serve`: the HTTP API."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import inverting, options, screen, values
from rnri.cli.loading import Asked, loads_a_model

INSTALL = "pip install 'rnri[serve]'"
_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets", "httpx")


@loads_a_model
def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[str, typer.Option(metavar="N", help="Where to listen; 0 is any that is free.")] = "8000",
    model: options.Model = options.MODEL,
    device: options.Device = "auto",
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keys, one a line, of which every request must bear one."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let everyone on the network ask, without a key.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A page whose scripts may ask; repeat it for several.", show_default="none"),
    ] = None,
    queue: Annotated[str, typer.Option(metavar="N", help="How many requests may wait.")] = "64",
    batch: Annotated[str, typer.Option(metavar="N", help="How many images are drawn in the same calls.")] = "8",
    wait: Annotated[
        str, typer.Option(metavar="MS", help="Milliseconds an edit waits for others to share its calls.")
    ] = "5",
    cache: Annotated[str, typer.Option(metavar="MIB", help="Memory for inversions that are kept.")] = "256",
    deadline: Annotated[str, typer.Option(metavar="SECONDS", help="After which a request is given up.")] = "60",
    grace: Annotated[str, typer.Option(metavar="SECONDS", help="To finish in, once told to stop.")] = "30",
    max_pixels: Annotated[str, typer.Option(metavar="N", help="Pixels of an image.")] = "16000000",
    max_bytes: Annotated[str, typer.Option(metavar="N", help="Bytes of a request.")] = "20971520",
    *,
    loading: Asked,
) -> None:
    """Serve edits over HTTP, to this computer alone unless told otherwise.

    Stops on Ctrl-C or SIGTERM, having finished what it took on. What it answers is described at /openapi.json.
    """
    listen = values.whole("--port", port, 0, 65535) or 0
    waiting, together = values.whole("--queue", queue, 1, 10_000) or 1, values.whole("--batch", batch, 1, 256) or 1
    pause, kept = values.real("--wait", wait, 1000) or 0.0, values.whole("--cache", cache, 1, 2**20) or 1
    late = values.real("--deadline", deadline, 3600, positive=True) or 1.0
    rest = values.real("--grace", grace, 3600) or 0.0
    pixels = values.whole("--max-pixels", max_pixels, 1, 2**30) or 1
    size = values.whole("--max-bytes", max_bytes, 1, 2**30) or 1
    loading.check_unseen()
    check_extra()

    from rnri.web.access import LOCAL_NAMES, Access, loopback, read_keys
    from rnri.web.api import Options, create_app
    from rnri.web.engine import Engine, Limits
    from rnri.web.serving import Address, Server, check_address, leave

    keys = read_keys(api_key_file) if api_key_file else frozenset()
    local = LOCAL_NAMES if loopback(host) and not keys else frozenset()
    access = Access(keys, local, frozenset(origin.rstrip("/") for origin in allow_origin or ()))
    check_address(host, access, insecure=insecure)

    from rnri.editing.editor import Timings

    with screen.progress() as tell:
        editor = inverting.open_editor(model, device, Timings(), tell, loading)
    limits = Limits(queue=waiting, batch=together, wait=pause / 1000, bytes=kept * 2**20, seconds=late, pixels=pixels)
    with Engine(editor, limits) as engine:
        server = Server(create_app(engine, Options(access, size)), engine, Address(host, listen), grace=rest)
        finished = server.run(lambda: screen.say(f"serving {model} at {server.url}; Ctrl-C or SIGTERM stops it"))
    screen.say("stopped" if finished else "stopped; what was not done in time was given up")
    leave(engine)


def check_extra() -> None:
    """Raise ValueError with the command that installs what serving needs, if it is not there."""
    for module in _NEEDED:
        if find_spec(module) is None:
            raise RnriError(f"serving needs {module}", hint=f"run {INSTALL}")
