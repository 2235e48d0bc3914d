"""Limits of request bodies before they are parsed: length, parts of JSON, time to arrive."""

from __future__ import annotations

import asyncio
import time

from rnri_core.errors import RnriError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rnri.web.problems import of

MAX_TEXT = 32_768
"""Bytes of a body without files, and characters of a message to /v1/live."""
MAX_PARTS = 4096
"""Commas in JSON, inside its strings too: no list and no object has more members."""
MAX_BRACKETS = 256
"""Opening brackets in JSON, inside its strings too: it is nested no deeper, and no parser of it recurses further."""
SECONDS = 60.0
"""In which a body has to arrive."""


def check_json(text: bytes) -> None:
    """Raise RnriError for JSON of too many parts; takes a time in proportion to its length.

    >>> check_json(b"[" * 1000)
    Traceback (most recent call last):
    rnri_core.errors.RnriError: the JSON has 1,000 brackets, over 256: send fewer, less deeply nested values
    """
    brackets, commas = text.count(b"[") + text.count(b"{"), text.count(b",")
    if brackets > MAX_BRACKETS:
        raise RnriError(
            f"the JSON has {brackets:,} brackets, over {MAX_BRACKETS}", hint="send fewer, less deeply nested values"
        )
    if commas > MAX_PARTS:
        raise RnriError(f"the JSON has {commas:,} commas, over {MAX_PARTS:,}", hint="send fewer values")


class BodyLimits:
    """Middleware that refuses bodies over a length: `max_bytes` for a form with files, `max_text` for any other."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_text: int) -> None:
        self._app, self._max_bytes, self._max_text = app, max_bytes, min(max_text, max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        files = headers.get("content-type", "").strip().lower().startswith("multipart/form-data")
        body = _Body(receive, self._max_bytes if files else self._max_text)
        try:
            length = headers.get("content-length", "")
            body.check(int(length) if length.isdecimal() else 0)
            bounded = body.receive if files else await body.checked()
        except (HTTPException, RnriError) as refused:
            await of(refused)(scope, receive, send)
            return
        await self._app(scope, bounded, send)


class _Body:
    """A request body that is received: at most `limit` bytes, within `SECONDS`. Raises HTTPException 413 or 408."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit = receive, limit
        self._length, self._deadline, self._done = 0, time.monotonic() + SECONDS, False

    def check(self, length: int) -> None:
        """Refuse a length over the limit."""
        if length > self._limit:
            cure = f"the request is larger than {self._limit:,} bytes: send a smaller image"
            raise HTTPException(413, cure, {"Connection": "close"})

    async def receive(self) -> Message:
        """The next message; after the body, any that follows it."""
        if self._done:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except TimeoutError:
            raise HTTPException(
                408, f"the request did not arrive within {SECONDS:g} s: send it again, or less"
            ) from None
        self._length += len(message.get("body", b""))
        self._done = message["type"] != "http.request" or not message.get("more_body", False)
        self.check(self._length)
        return message

    async def checked(self) -> Receive:
        """Receive the whole body; RnriError for JSON of too many parts."""
        chunks = list[bytes]()
        while not self._done:
            message = await self.receive()
            if message["type"] != "http.request":
                return self.receive
            chunks.append(message.get("body", b""))
        whole = b"".join(chunks)
        check_json(whole)
        messages: list[Message] = [{"type": "http.request", "body": whole, "more_body": False}]

        async def receive() -> Message:
            return messages.pop() if messages else await self._receive()

        return receive
