"""/v1/live: prompts come in, frames go out, and none is older than one that went before."""

from __future__ import annotations

import asyncio
import json
import secrets

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from rnri_core.errors import RnriError
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect

from rnri import images
from rnri.web import problems
from rnri.web.bodies import MAX_TEXT, check_json
from rnri.web.engine import Edited, Engine
from rnri.web.schemas import LiveRequest, SecondsAnswer
from rnri.web.tickets import Cancelled, Superseded, Ticket

TRY_LATER, TOO_LARGE, PLAIN_TEXT = 1013, 1009, 1003
"""Codes with which a connection is closed (RFC 6455, section 7.4.1)."""

router = APIRouter()


class Connections:
    """How many there are, and may be."""

    def __init__(self, limit: int) -> None:
        self.limit, self.count = limit, 0


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    """Each message is a LiveRequest as JSON; each answer is JSON about a frame, then the frame, or a problem.

    A request that comes before the one before it is drawn takes its place: that one is never answered.
    """
    connections: Connections = socket.app.state.live
    await socket.accept()
    if connections.count >= connections.limit:
        await socket.close(TRY_LATER, "as many are connected as may be: come again in a while")
        return
    connections.count += 1
    try:
        await _Session(socket).run()
    except WebSocketDisconnect:
        pass
    finally:
        connections.count -= 1


class _Session:
    """One connection: it asks, and delivers in order what is still wanted."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._engine: Engine = socket.app.state.engine
        self._owner: str = socket.state.owner
        self._name = f"live {secrets.token_hex(8)}"
        self._sending = asyncio.Lock()
        self._delivery: asyncio.Task[None] | None = None
        self._ticket: Ticket[Edited] | None = None

    async def run(self) -> None:
        """Until the client goes; what it asked last is then cancelled."""
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                text = message.get("text")
                if text is None or len(text) > MAX_TEXT:
                    code = PLAIN_TEXT if text is None else TOO_LARGE
                    await self._socket.close(code, f"send JSON text of up to {MAX_TEXT} characters")
                    return
                await self._take(text)
        finally:
            if self._ticket is not None:
                self._ticket.cancel()
            if self._delivery is not None:
                self._delivery.cancel()

    async def _take(self, text: str) -> None:
        try:
            check_json(text.encode("utf-8", "surrogatepass"))
            wanted = LiveRequest.model_validate_json(text)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
            await self._tell(None, RnriError(told))
            return
        except ValueError as error:
            await self._tell(None, error)
            return
        try:
            ticket = self._engine.edit(
                wanted.inversion, wanted.drawing(), owner=self._owner, session=self._name, latest=True
            )
        except Exception as error:  # a full queue, a half-given size: told, and the connection goes on
            await self._tell(wanted.sequence, error)
            return
        self._ticket = ticket
        self._delivery = asyncio.create_task(self._deliver(wanted, ticket))

    async def _deliver(self, wanted: LiveRequest, ticket: Ticket[Edited]) -> None:
        try:
            edited = await ticket.answer()
            data = await run_in_threadpool(images.encode, edited.pictures[0], wanted.format.upper())
        except (Superseded, Cancelled):
            return
        except Exception as error:
            if not isinstance(ticket.stopped, Superseded):
                await self._tell(wanted.sequence, error)
            return
        cost = edited.cost
        about = {
            "sequence": wanted.sequence,
            "inversion": wanted.inversion,
            "format": wanted.format,
            "nfe": cost.nfe,
            "batch": edited.batch,
            "seconds": SecondsAnswer.of(cost.timings, cost.waited).model_dump(),
            "remarks": list(edited.remarks),
        }
        async with self._sending:
            if ticket.stopped is None:  # nothing newer came while it was packed
                await self._socket.send_text(json.dumps(about))
                await self._socket.send_bytes(data)

    async def _tell(self, sequence: int | None, error: Exception) -> None:
        """A problem, as HTTP would have it, with the number of what it is about."""
        body = json.loads(bytes(problems.of(error).body))
        async with self._sending:
            await self._socket.send_text(json.dumps({"sequence": sequence, "problem": body}))
