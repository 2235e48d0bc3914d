"""Access to a server: API keys, the host names it answers to, the origins of pages that may call it."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rnri_core.errors import RnriError
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    SimpleUser,
)
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from rnri.web.problems import problem

SHORTEST_KEY = 16
"""Characters in a key."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Host names of this computer."""
PUBLIC = ("/healthz", "/readyz")
"""Paths that need no key."""


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    Attributes:
        keys: SHA-256 digests of API keys; without any, no key is needed.
        hosts: names in the Host header; without any, all.
        origins: pages, besides the server's own, from which a browser may send requests.
    """

    keys: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    @property
    def open(self) -> bool:
        """Whether no key is needed."""
        return not self.keys


class KeyAuthentication(AuthenticationBackend):
    """Authenticates a request by its API key, in constant time; the name of the user is the digest of the key."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """The owner of a request; None where no key is needed. Raises AuthenticationError for an unknown key."""
        if not self._keys or conn.scope["path"] in PUBLIC:
            return None
        scheme, _, credentials = conn.headers.get("authorization", "").partition(" ")
        key = credentials.strip() if scheme.lower() == "bearer" else conn.headers.get("x-api-key", "")
        digest = _digest(key)
        matches = [secrets.compare_digest(digest, each) for each in self._keys]  # all of them, in equal time
        if not any(matches):
            raise AuthenticationError("a key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        return AuthCredentials(["key"]), SimpleUser(digest)


class OriginCheck:
    """Middleware that refuses requests of browsers on foreign pages, which CORS alone lets through.

    Any page can make a browser send requests to a server that only this computer reaches.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        headers = Headers(scope=scope) if scope["type"] in ("http", "websocket") else Headers()
        origin = headers.get("origin")
        if origin is None or origin in self._origins or urlsplit(origin).netloc == headers.get("host", ""):
            await self._app(scope, receive, send)
            return
        refusal = f"pages of {origin[:100]!r} may not send requests: start the server with --allow-origin"
        close = WebSocketClose(1008, refusal) if scope["type"] == "websocket" else problem(403, refusal)
        await close(scope, receive, send)


def loopback(host: str) -> bool:
    """Whether only this computer reaches a server that listens on an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_keys(path: Path) -> frozenset[str]:
    """The digests of the keys in a file: one a line, # for remarks. RnriError for keys that are too easy to guess."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise RnriError(f"{path} is not text", hint="write one key a line") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise RnriError(f"{path} holds no key", hint="write one a line")
    if any(len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() for key in keys):
        raise RnriError(
            f"{path}", hint=f"a key needs {SHORTEST_KEY} or more plain characters, such as openssl rand -hex 16"
        )
    return frozenset(map(_digest, keys))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
