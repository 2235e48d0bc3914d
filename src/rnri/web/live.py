"""The WebSocket /v1/live: prompts in, frames out, the newest wins."""

from __future__ import annotations

import asyncio
import json
import secrets

from fastapi import APIRouter, WebSocket
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect

from rnri import images
from rnri.web import problems
from rnri.web.bodies import MAX_TEXT, check_json
from rnri.web.engine import EditOutput, Engine
from rnri.web.schemas import LiveRequest
from rnri.web.tickets import Cancelled, Superseded, Ticket

TRY_LATER, TOO_LARGE, PLAIN_TEXT = 1013, 1009, 1003
"""Codes with which a connection is closed (RFC 6455, section 7.4.1)."""

router = APIRouter()


class Connections:
    """The number of live connections, and their limit."""

    def __init__(self, limit: int) -> None:
        self.limit, self.count = limit, 0


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    """Each message is a LiveRequest as JSON; each answer is JSON about a frame, then the frame, or a problem.

    A request that comes before the previous one is answered takes its place: that one is never answered.
    """
    connections: Connections = socket.app.state.live
    await socket.accept()
    if connections.count >= connections.limit:
        await socket.close(TRY_LATER, "all live connections are taken: come again in a while")
        return
    connections.count += 1
    try:
        await _Session(socket).run()
    except WebSocketDisconnect:
        pass
    finally:
        connections.count -= 1


class _Session:
    """One connection: takes requests, and sends in order the frames that are not superseded."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._engine: Engine = socket.app.state.engine
        self._owner: str = socket.user.display_name
        self._name = f"live {secrets.token_hex(8)}"
        self._sending = asyncio.Lock()
        self._delivery: asyncio.Task[None] | None = None
        self._ticket: Ticket[EditOutput] | None = None

    async def run(self) -> None:
        """Serve until the client disconnects; its last request is then cancelled."""
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
        request = None
        try:
            check_json(text.encode("utf-8", "surrogatepass"))
            request = LiveRequest.model_validate_json(text)
            task = request.task(request.strength)
            ticket = self._engine.edit(request.inversion, task, owner=self._owner, session=self._name, latest=True)
        except Exception as error:  # a damaged message, a full queue: answered, and the connection goes on
            await self._send_problem(request.sequence if request else None, error)
            return
        self._ticket = ticket
        self._delivery = asyncio.create_task(self._deliver(request, ticket))

    async def _deliver(self, request: LiveRequest, ticket: Ticket[EditOutput]) -> None:
        try:
            output = await ticket.answer()
            data = await run_in_threadpool(images.encode, output.pictures[0], request.format.upper())
        except (Superseded, Cancelled):
            return
        except Exception as error:
            if not isinstance(ticket.stopped, Superseded):
                await self._send_problem(request.sequence, error)
            return
        about = {
            **request.model_dump(include={"sequence", "inversion", "format"}),
            "nfe": output.cost.nfe,
            "batch": output.batch,
            "seconds": output.cost.seconds.model_dump(),
            "remarks": list(output.remarks),
        }
        async with self._sending:
            if ticket.stopped is None:  # nothing newer came while it was encoded
                await self._socket.send_text(json.dumps(about))
                await self._socket.send_bytes(data)

    async def _send_problem(self, sequence: int | None, error: Exception) -> None:
        """Send a problem, as HTTP answers it, with the number of its request."""
        body = json.loads(bytes(problems.of(error).body))
        async with self._sending:
            await self._socket.send_text(json.dumps({"sequence": sequence, "problem": body}))
