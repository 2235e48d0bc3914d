"""`rnri ui`: the live page."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import inverting, options, screen, values
from rnri.cli.loading import Asked, loads_a_model

PORT, MEMORY = 7860, 256
_NEEDED = ("gradio", "fastapi", "uvicorn", "prometheus_client")


@loads_a_model
def ui(
    model: options.Model = options.MODEL,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[str, typer.Option(metavar="N", help="Which port; 0 for any that is free.")] = str(PORT),
    memory: Annotated[
        str, typer.Option(metavar="MB", help="What inversions may take; above it, the oldest are made again.")
    ] = str(MEMORY),
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on an address that others reach; anybody may then use the page.")
    ] = False,
    device: options.Device = "auto",
    *,
    loading: Asked,
) -> None:
    """Edit pictures live in a browser.

    Open the address it prints; Ctrl-C or SIGTERM ends it. Everything the page needs comes from there.
    """
    number, megabytes = values.whole("--port", port, 0, 65535) or 0, values.whole("--memory", memory, 1) or MEMORY
    loading.check_unseen()
    check_extra()

    from rnri.editing.editor import Timings
    from rnri.web.access import LOCAL_NAMES, Access, loopback
    from rnri.web.engine import Engine, Limits
    from rnri.web.serving import Address, Server, leave

    if not (loopback(host) or insecure):
        raise RnriError(
            f"--host {host} lets everyone on the network use the page", hint="say --insecure if that is wanted"
        )
    access = Access(hosts=LOCAL_NAMES if loopback(host) else frozenset())
    with screen.progress() as tell:
        editor = inverting.open_editor(model, device, Timings(), tell, loading)
        tell("making the page")
        from rnri.web import page

    if loopback(host):
        page.leave_a_core(editor.model.device)
    with Engine(editor, Limits(bytes=megabytes * 2**20)) as engine:
        server = Server(page.app(engine, access), engine, Address(host, number))
        server.run(lambda: screen.say(f"{model} at {server.url}; Ctrl-C or SIGTERM stops it"))
    leave(engine)


def check_extra() -> None:
    """Raise ValueError with the command that installs what the page needs, if it is not there."""
    for module in _NEEDED:
        if find_spec(module) is None:
            raise RnriError(f"the page needs {module}", hint="run pip install 'rnri[ui]'")
