"""The live page: a Gradio app of one component, and the functions of a `Desk` beside it; nothing comes from outside."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported, and again by each app
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio
import torch
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from rnri.web.access import Access
from rnri.web.engine import Engine
from rnri.web.guard import Guard, Meters
from rnri.web.page_desk import MAX_BYTES, Counter, Desk
from rnri.web.problems import problem

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("words.js", "stage.js", "panels.js", "ask.js", "page.js", "listen.js")
_SELF = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'"
"""Tells browsers to load nothing from anywhere else; Gradio's own scripts are inline, and compile templates."""
_READ = re.compile(r"/|/(assets|static)/[\w./-]+|/theme\.css|/favicon\.ico|/config")
_ASKED = re.compile(r"/page/\w+")
_FONTS = ("ui-sans-serif", "system-ui", "sans-serif"), ("ui-monospace", "Consolas", "monospace")


def leave_a_core(device: torch.device) -> None:
    """Have networks on the CPU leave one core to the browser, which draws while they run.

    Where both have all cores each waits for the other: on two cores a picture comes a fifth later (`rnri bench ui`).
    """
    if device.type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))


def page() -> gradio.Blocks:
    """The page, not served yet."""
    scripts = "\n".join(_read(name) for name in _SCRIPTS)
    with gradio.Blocks(title="rnri", analytics_enabled=False) as blocks:
        gradio.HTML(
            html_template=_read("page.html"),
            js_on_load=f"{scripts}\nnew Page(element.querySelector('.rn'));",
            apply_default_css=False,
        )
    return blocks


class _Closed:
    """Middleware that serves what the page is made of and the desk's functions, and has browsers keep to this server.

    Gradio's own endpoints, some of which take paths, addresses and files, are closed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = _SELF
            await send(message)

        if scope["type"] == "http":
            reads = scope["method"] in ("GET", "HEAD")
            if not (_READ if reads else _ASKED).fullmatch(scope["path"]):
                await problem(404, "the page has nothing there: open its address without a path")(
                    scope, receive, answer
                )
            elif not reads and Headers(scope=scope).get("content-type") != "application/json":
                await problem(415, "the page takes application/json alone: send pictures as data URLs")(
                    scope, receive, answer
                )
            else:
                await self._app(scope, receive, answer)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, "the page has no sockets")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def app(engine: Engine, access: Access) -> FastAPI:
    """The page as an application, at its root, for those whom `access` lets in."""
    most = 3 * MAX_BYTES  # in base64, and a mask beside it
    bare = FastAPI(title="rnri", docs_url=None, redoc_url=None, openapi_url=None)
    bare.add_middleware(_Closed)
    bare.add_middleware(Guard, access=access, max_bytes=most, max_text=most, meters=Meters(engine))
    for counter in Desk(engine).counters():
        bare.post(f"/page/{counter.__name__}")(_asked(counter))
    theme = gradio.themes.Base(font=_FONTS[0], font_mono=_FONTS[1])
    result: FastAPI = gradio.mount_gradio_app(
        bare,
        page(),
        "/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css=_read("page.css"),
    )
    return result


def _asked(counter: Counter) -> Callable[[Request], Awaitable[Response]]:
    """What a counter answers to the JSON of a request."""

    async def answer(request: Request) -> Response:
        try:
            asked = await request.json()
        except (ValueError, RecursionError):
            return problem(422, "the request is no JSON: load the page again")
        return JSONResponse(await counter(asked))

    return answer


def _read(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
