"""Who may ask: keys, hosts and origins."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rnri_core.errors import RnriError
from starlette.datastructures import Headers

SHORTEST_KEY = 16
"""Characters in a key."""


@dataclass(frozen=True)
class Access:
    """Whom a server serves: without `keys` everyone, without `hosts` under whatever name it was called.

    `keys` are SHA-256 digests. `origins` are the pages, besides its own, from which a browser may ask.
    """

    keys: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    @property
    def open(self) -> bool:
        """Whether no key is asked for."""
        return not self.keys

    def owner(self, headers: Headers) -> str | None:
        """Who asks: a digest of the key, empty where none is needed; None for who may not."""
        if self.open:
            return ""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        key = given.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        mine = _digest(key)
        matches = [secrets.compare_digest(mine, each) for each in self.keys]  # all of them, in equal time
        return mine if any(matches) else None

    def refusal(self, headers: Headers) -> str:
        """Why a browser on that page, or under that name of the server, is not served; empty if it is.

        A page of anyone's can make a browser ask a server that only this computer reaches.
        """
        host = _name(headers.get("host", ""))
        if self.hosts and host not in self.hosts:
            return f"this server is not called {host[:100]!r}: ask it as 127.0.0.1 or localhost"
        origin = headers.get("origin")
        if origin is None or origin in self.origins or urlsplit(origin).netloc == headers.get("host", ""):
            return ""
        return f"pages of {origin[:100]!r} may not ask: start the server with --allow-origin"


def loopback(host: str) -> bool:
    """Whether only this computer reaches a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def read_keys(path: Path) -> frozenset[str]:
    """The digests of the keys in a file: one a line, # for remarks. ValueError for keys that are too easy to guess."""
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


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return urlsplit(f"//{host}").hostname or ""
