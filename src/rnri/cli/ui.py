"""`rnri ui`: the live page."""

from __future__ import annotations

from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, screen
from rnri.cli.serve import Host, Port, require

NEEDS = ("gradio", "fastapi", "uvicorn", "prometheus_fastapi_instrumentator", "cachetools")


def ui(
    model: options.ModelOptions,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    memory: Annotated[int, typer.Option(min=1, help="MB of inversions; above it, the oldest are made again.")] = 256,
    insecure: Annotated[bool, typer.Option("--insecure", help="Serve everyone on the network.")] = False,
) -> None:
    """Edit images live in a browser.

    Open the address it prints; Ctrl-C or SIGTERM ends it. Everything the page needs comes from there.
    """
    model.check_preview()
    require("the page", NEEDS, "ui")

    from rnri.editing.editor import Timings
    from rnri.web.access import LOCAL_NAMES, Access, loopback
    from rnri.web.engine import Engine, Limits
    from rnri.web.serving import Address, Server, leave

    if not (loopback(host) or insecure):
        raise RnriError(f"--host {host} lets everyone on the network use the page", hint="give --insecure to allow it")
    access = Access(hosts=LOCAL_NAMES if loopback(host) else frozenset())
    with screen.progress() as tell:
        editor = model.editor(Timings(), tell)
        tell("making the page")
        from rnri.web import page

    if loopback(host):
        page.leave_a_core(editor.model.device)
    with Engine(editor, Limits(bytes=memory * 2**20)) as engine:
        server = Server(page.app(engine, access), engine, Address(host, port))
        server.run(lambda: screen.show(f"{model.name} at {server.url}; Ctrl-C or SIGTERM stops it"))
    leave(engine)
