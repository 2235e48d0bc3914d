"""What every request passes: who may ask, how much it may send, how it is counted."""

from __future__ import annotations

import logging
import re
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from rnri.web.access import Access
from rnri.web.bodies import Body, holds_files, too_large
from rnri.web.engine import Engine
from rnri.web.problems import GONE, of, problem

UNGUARDED = ("/healthz", "/readyz")
"""What is told without a key."""

_LOG = logging.getLogger(__name__)
_ID = re.compile(r"(?<=/inversions/)[^/]+")
_ROUTES = frozenset(
    [
        "/v1/inversions",
        "/v1/inversions/{id}",
        "/v1/inversions/{id}/edits",
        "/v1/edits",
        "/v1/models",
        "/v1/solvers",
        "/v1/live",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
    ]
)


class Guard:
    """Middleware that refuses whom `access` does not let in and bodies that are too much, and counts the rest.

    A form with files may have `max_bytes`, any other body `max_text`. It leaves who asks in the request's state, as
    `owner`.
    """

    def __init__(self, app: ASGIApp, access: Access, max_bytes: int, max_text: int, meters: Meters) -> None:
        self._app, self._access, self._meters = app, access, meters
        self._max_bytes, self._max_text = max_bytes, min(max_text, max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        began, codes = time.perf_counter(), list[int | None]([None])

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                codes[0] = message["status"]
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
                MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._admitted(scope, headers, receive, answer)
        except Exception as error:
            _LOG.exception("a fault in answering %s", scope["path"])
            if scope["type"] == "websocket" or codes[0] is not None:
                raise
            await of(error)(scope, receive, answer)
        finally:
            if scope["type"] == "http":
                route = _ID.sub("{id}", scope["path"])
                self._meters.saw(route if route in _ROUTES else "other", codes[0] or GONE, time.perf_counter() - began)

    async def _admitted(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        owner = self._access.owner(headers)
        refusal = self._access.refusal(headers)
        if scope["type"] == "websocket":
            if refusal or owner is None:
                await WebSocketClose(1008, refusal or "a key is needed")(scope, receive, send)
                return
            scope.setdefault("state", {})["owner"] = owner
            await self._app(scope, receive, send)
            return
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if refusal:
            await problem(403, refusal)(scope, receive, send)
        elif owner is None and scope["path"] not in UNGUARDED and not preflight:
            cure = "a key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            await problem(401, cure, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)
        else:
            scope.setdefault("state", {})["owner"] = owner or ""
            await self._bounded(scope, headers, receive, send)

    async def _bounded(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        files = holds_files(headers)
        most = self._max_bytes if files else self._max_text
        try:
            if _length(headers) > most:
                raise too_large(most)
            body = Body(receive, most)
            bounded = body.receive if files else await body.checked()
        except HTTPException as refused:
            await of(refused)(scope, receive, send)
            return
        await self._app(scope, bounded, send)


def _length(headers: Headers) -> int:
    """The length a request says it has; 0 if it says none, and what comes is counted."""
    said = headers.get("content-length", "0")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else 0


class Meters:
    """What is measured, for Prometheus."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "rnri_requests",
            "Requests by what was asked and how it was answered.",
            ("route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "rnri_request_seconds",
            "Seconds from request to answer.",
            ("route",),
            buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.registry.register(_EngineMeters(engine))

    def saw(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class _EngineMeters(Collector):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> list[Metric]:
        """What the engine says of itself now."""
        engine, store = self._engine, self._engine.store
        work = CounterMetricFamily(
            "rnri_work", "Work of the engine by how it ended; groups and calls.", labels=["what"]
        )
        for what, count in sorted(engine.counts.items()):
            work.add_metric([what], count)
        return [
            GaugeMetricFamily("rnri_waiting", "Requests that wait for their turn.", engine.waiting),
            GaugeMetricFamily("rnri_inversions", "Inversions that are kept.", len(store)),
            GaugeMetricFamily("rnri_inversion_bytes", "Bytes of inversions that are kept.", store.bytes),
            work,
        ]
