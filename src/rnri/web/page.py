"""The live page: a Gradio app of one component, and the handlers of its requests; nothing is loaded from elsewhere."""

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
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from rnri.web.access import Access
from rnri.web.engine import Engine
from rnri.web.middleware import Responses, protect
from rnri.web.page_handlers import MAX_BYTES, Handler, PageHandlers
from rnri.web.problems import problem

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("words.js", "stage.js", "panels.js", "requests.js", "page.js", "listen.js")
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'"
"""Has browsers load nothing from anywhere else; Gradio's own scripts are inline, and compile templates."""
_READ = re.compile(r"/|/(assets|static)/[\w./-]+|/theme\.css|/favicon\.ico|/config")
_HANDLED = re.compile(r"/page/\w+")
_FONTS = ("ui-sans-serif", "system-ui", "sans-serif"), ("ui-monospace", "Consolas", "monospace")


def leave_a_core(device: torch.device) -> None:
    """Leave one core to the browser, for networks on the CPU.

    Where both have all cores each waits for the other: on two cores a frame comes a fifth later (`rnri bench ui`).
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


class PathFilter:
    """Middleware that serves the files and handlers of the page alone.

    Gradio's own endpoints, some of which take paths, addresses and files, are closed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http":
            reads = scope["method"] in ("GET", "HEAD")
            if not (_READ if reads else _HANDLED).fullmatch(scope["path"]):
                app = problem(404, "the page has nothing there: open its address without a path")
            elif not reads and Headers(scope=scope).get("content-type") != "application/json":
                app = problem(415, "the page takes application/json alone: send images as data URLs")
        elif scope["type"] == "websocket":
            app = WebSocketClose(1008, "the page has no sockets")
        await app(scope, receive, send)


def app(engine: Engine, access: Access) -> FastAPI:
    """The page as an application, at its root."""
    limit = 3 * MAX_BYTES  # in base64, and a mask beside it
    bare = FastAPI(title="rnri", docs_url=None, redoc_url=None, openapi_url=None)
    bare.add_middleware(PathFilter)
    protect(bare, access, max_bytes=limit, max_text=limit)
    bare.add_middleware(Responses, headers={"Content-Security-Policy": _POLICY})
    for handler in PageHandlers(engine).handlers():
        bare.post(f"/page/{handler.__name__}")(_endpoint(handler))
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


def _endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint that answers the JSON of a request by a handler."""

    async def answer(request: Request) -> Response:
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            return problem(422, "the request is no JSON: load the page again")
        return JSONResponse(await handler(body))

    return answer


def _read(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
