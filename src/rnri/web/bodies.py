"""Bodies of requests before anything parses them: how long they may be, of how many parts, and how long they take."""

from __future__ import annotations

import asyncio
import time

from rnri_core.errors import RnriError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

MAX_TEXT = 32_768
"""Bytes of a body that holds no file, and characters of a message to /v1/live."""
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


def holds_files(headers: Headers) -> bool:
    """Whether a request's body is a form with files."""
    return headers.get("content-type", "").strip().lower().startswith("multipart/form-data")


class Body:
    """A request's body as it comes in: at most `most` bytes, within `SECONDS`.

    Raises HTTPException 413 or 408, from whoever receives.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most = receive, most
        self._came, self._until, self._done = 0, time.monotonic() + SECONDS, False

    async def receive(self) -> Message:
        """The next message; once the body is there, whatever comes after it."""
        if self._done:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except TimeoutError:
            raise HTTPException(
                408, f"the request did not arrive within {SECONDS:g} s: send it again, or less"
            ) from None
        self._came += len(message.get("body", b""))
        self._done = message["type"] != "http.request" or not message.get("more_body", False)
        if self._came > self._most:
            raise too_large(self._most)
        return message

    async def checked(self) -> Receive:
        """Receives the whole body at once, which is no JSON of too many parts; HTTPException 422 if it is."""
        chunks = list[bytes]()
        while not self._done:
            message = await self.receive()
            if message["type"] != "http.request":
                return self.receive
            chunks.append(message.get("body", b""))
        whole = b"".join(chunks)
        try:
            check_json(whole)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        left: list[Message] = [{"type": "http.request", "body": whole, "more_body": False}]

        async def receive() -> Message:
            return left.pop() if left else await self._receive()

        return receive


def too_large(most: int) -> HTTPException:
    """The refusal of a body that is longer."""
    return HTTPException(
        413, f"the request is larger than {most:,} bytes: send a smaller image", {"Connection": "close"}
    )
