"""The middleware of an application: hosts, origins, keys, lengths of bodies, metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from starlette.datastructures import MutableHeaders
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rnri.web.access import Access, KeyAuthentication, OriginCheck
from rnri.web.bodies import BodyLimits
from rnri.web.engine import Engine
from rnri.web.problems import of, problem

_LOG = logging.getLogger(__name__)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


def protect(app: FastAPI, access: Access, *, max_bytes: int, max_text: int, expose: tuple[str, ...] = ()) -> None:
    """Add the middleware that refuses requests: foreign hosts and origins, unknown keys, bodies that are too long.

    The one that is added last sees a request first. `expose` are response headers for scripts of other origins.
    """
    app.add_middleware(BodyLimits, max_bytes=max_bytes, max_text=max_text)
    app.add_middleware(AuthenticationMiddleware, backend=KeyAuthentication(access.keys), on_error=_unauthorized)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(access.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type"],
            expose_headers=expose,
        )
    app.add_middleware(OriginCheck, origins=access.origins)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(access.hosts) or ["*"], www_redirect=False)


class Responses:
    """Middleware that gives every response headers that it lacks, and answers a fault of ours with 500.

    Starlette's own handler of faults raises them again, upon which the server closes the connection.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] | None = None) -> None:
        self._app, self._headers = app, {**_HEADERS, **(headers or {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                for name, value in self._headers.items():
                    MutableHeaders(scope=message).setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            _LOG.exception("a fault in answering %s", scope["path"])
            await of(error)(scope, receive, answer)


def measure(app: FastAPI, engine: Engine) -> CollectorRegistry:
    """Count and time the requests to an application; the registry has the engine's metrics as well."""
    registry = CollectorRegistry()
    registry.register(_EngineMetrics(engine))
    instrumentator = Instrumentator(should_group_status_codes=False, registry=registry)
    count = metrics.requests("rnri_requests", "Requests.", should_include_method=False, registry=registry)
    seconds = metrics.latency(
        "rnri_request_seconds",
        "Seconds from request to response.",
        should_include_method=False,
        should_include_status=False,
        buckets=_BUCKETS,
        registry=registry,
    )
    instrumentator.add(count, seconds).instrument(app)
    return registry


class _EngineMetrics(Collector):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> list[Metric]:
        """The present state of the engine."""
        engine, store = self._engine, self._engine.store
        work = CounterMetricFamily("rnri_work", "Jobs of the engine by outcome; groups and calls.", labels=["what"])
        for what, count in sorted(engine.counts.items()):
            work.add_metric([what], count)
        return [
            GaugeMetricFamily("rnri_waiting", "Jobs in the queue.", engine.waiting),
            GaugeMetricFamily("rnri_inversions", "Stored inversions.", len(store)),
            GaugeMetricFamily("rnri_inversion_bytes", "Bytes of stored inversions.", store.bytes),
            work,
        ]


def _unauthorized(_: HTTPConnection, error: Exception) -> Response:
    return problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})
