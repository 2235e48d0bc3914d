"""The HTTP API: what is asked, handed to the engine, and told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import getdoc
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, FastAPI, File, Form, Path, Query, Request, Response, UploadFile
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rnri_core.solvers import SOLVERS, WRAPPERS, Method
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import rnri
from rnri import images, models
from rnri.web import live, problems
from rnri.web.access import Access
from rnri.web.bodies import MAX_TEXT
from rnri.web.engine import Drawing, Edited, Engine, Missing
from rnri.web.guard import Guard, Meters
from rnri.web.schemas import (
    ID_PATTERN,
    EditRequest,
    InversionAnswer,
    ModelAnswer,
    OptionAnswer,
    Prompt,
    Scalar,
    Seconds,
    SolverAnswer,
    StateAnswer,
    finite,
    form_drawing,
    settings,
)
from rnri.web.store import Settings
from rnri.web.tickets import Ticket

T = TypeVar("T")

KINDS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
"""What an image may be answered as; the first where nothing is asked for."""

FACTS = {
    "RNRI-Inversion": "The id of the inversion it was drawn from.",
    "RNRI-NFE": "Network evaluations that were made for it.",
    "RNRI-Batch": "How many images were drawn in the same network calls.",
    "RNRI-Remarks": "A JSON list of what the model cannot read of the prompt.",
    "Server-Timing": "Milliseconds by stage: wait, encode, invert, edit, decode.",
}
"""Headers of an image that is answered."""

_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image, in the form that Accept prefers.",
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in KINDS},
        "headers": {name: {"description": about, "schema": {"type": "string"}} for name, about in FACTS.items()},
    }
}
_BUSY = problems.responses(400, 401, 403, 408, 413, 422, 503, 504)

router = APIRouter()
Id = Annotated[str, Path(pattern=ID_PATTERN, description="What POST /v1/inversions answered.")]
Image = Annotated[UploadFile, File(description="PNG, JPEG or WebP.")]
Timeout = Annotated[
    Seconds | None,
    Query(description="Seconds after which the answer is no longer wanted; never more than the server's."),
]


@dataclass(frozen=True)
class Options:
    """How a server is to be: whom it serves, how large a request may be, how many live connections it holds."""

    access: Access = field(default_factory=Access)
    max_bytes: int = 20 * 2**20
    live: int = 64


def create_app(engine: Engine, options: Options | None = None) -> FastAPI:
    """The ASGI application that serves an engine, which whoever made it closes."""
    options = options or Options()
    app = FastAPI(
        title="rnri",
        version=rnri.__version__,
        description="Edit images by text: invert an image once, then draw it with other prompts.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )
    meters = Meters(engine)
    app.state.engine, app.state.meters, app.state.live = engine, meters, live.Connections(options.live)
    app.include_router(router)
    app.include_router(live.router)
    problems.install(app)
    if options.access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(options.access.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type"],
            expose_headers=[*FACTS, "Location", "Retry-After"],
        )
    app.add_middleware(Guard, access=options.access, max_bytes=options.max_bytes, max_text=MAX_TEXT, meters=meters)
    return app


@router.post(
    "/v1/inversions",
    status_code=201,
    response_model=InversionAnswer,
    responses=_BUSY
    | {201: {"description": "The image is inverted.", "headers": {"Location": {"schema": {"type": "string"}}}}},
)
async def invert(
    request: Request,
    response: Response,
    image: Image,
    prompt: Annotated[Prompt, Form(description="What the image shows.", examples=["a red metal ball on sand"])],
    how: Annotated[Settings, Depends(settings)],
    timeout: Timeout = None,
) -> InversionAnswer:
    """Invert an image, to be edited as often as wanted."""
    data, (owner, session) = await image.read(), _who(request)
    ticket = _engine(request).invert(data, prompt, how, owner=owner, session=session, seconds=timeout)
    found = await _while_there(request, ticket)
    response.headers["Location"] = f"/v1/inversions/{found.id}"
    return InversionAnswer.of(found)


@router.get("/v1/inversions/{id}", response_model=InversionAnswer, responses=problems.responses(401, 403, 404, 422))
async def show(request: Request, id: Id) -> InversionAnswer:
    """What is known of an inversion."""
    return InversionAnswer.of(_engine(request).find(id, _who(request)[0]).about)


@router.delete("/v1/inversions/{id}", status_code=204, responses=problems.responses(401, 403, 404, 422))
async def delete(request: Request, id: Id) -> Response:
    """Forget an inversion."""
    if not _engine(request).store.delete(id, _who(request)[0]):
        raise Missing(f"there is no inversion {id!r}: nothing is left to forget")
    return Response(status_code=204)


@router.post(
    "/v1/inversions/{id}/edits",
    response_class=Response,
    responses=_PICTURE | _BUSY | problems.responses(404, 406),
)
async def edit(request: Request, id: Id, wanted: EditRequest, timeout: Timeout = None) -> Response:
    """Draw an inverted image with another prompt."""
    media, (owner, session) = _media(request), _who(request)
    ticket = _engine(request).edit(id, wanted.drawing(), owner=owner, session=session, seconds=timeout)
    return await _picture(id, await _while_there(request, ticket), media)


@router.post("/v1/edits", response_class=Response, responses=_PICTURE | _BUSY | problems.responses(406))
async def invert_and_edit(
    request: Request,
    image: Image,
    source: Annotated[Prompt, Form(description="What the image shows.", examples=["a red metal ball on sand"])],
    drawing: Annotated[Drawing, Depends(form_drawing)],
    how: Annotated[Settings, Depends(settings)],
    timeout: Timeout = None,
) -> Response:
    """Invert an image and draw it with another prompt; the inversion is kept, and named in a header."""
    media, (owner, session), engine = _media(request), _who(request), _engine(request)
    first = engine.invert(await image.read(), source, how, owner=owner, session=session, seconds=timeout)
    found = await _while_there(request, first)
    second = engine.edit(found.id, drawing, owner=owner, session=session, seconds=first.left)
    return await _picture(found.id, await _while_there(request, second), media)


@router.get("/v1/models", response_model=list[ModelAnswer], responses=problems.responses(401, 403))
async def list_models(request: Request) -> list[ModelAnswer]:
    """The model that is served, and those inside the package."""
    model = _engine(request).editor.model
    height, width = model.image_size
    served = ModelAnswer(
        name=model.name if model.name in models.EMBEDDED else "custom",  # a folder's name is nobody's business
        about=models.EMBEDDED.get(model.name, "a model of whoever runs this server"),
        served=True,
        fingerprint=model.fingerprint,
        width=width,
        height=height,
        steps=model.defaults.steps,
        guidance=model.defaults.guidance,
        edit_guidance=model.defaults.edit_guidance,
    )
    others = [ModelAnswer(name=name, about=about, served=False) for name, about in models.EMBEDDED.items()]
    return [served, *(other for other in others if other.name != served.name)]


@router.get("/v1/solvers", response_model=list[SolverAnswer], responses=problems.responses(401, 403))
async def list_solvers() -> list[SolverAnswer]:
    """The solvers and what can be laid over them, with their fields and ranges."""
    solvers = [_solver(name, method, wrapper=False) for name, method in SOLVERS.items()]
    return solvers + [_solver(name, method, wrapper=True) for name, method in WRAPPERS.items()]


@router.get("/healthz", response_model=StateAnswer, responses=problems.responses(403))
async def health() -> StateAnswer:
    """Whether the server lives."""
    return StateAnswer(status="ok")


@router.get("/readyz", response_model=StateAnswer, responses=problems.responses(403, 503))
async def readiness(request: Request) -> StateAnswer:
    """Whether the server takes on work."""
    engine = _engine(request)
    if engine.closing or engine.waiting >= engine.limits.queue:
        reason = engine.closing or "as many requests wait as may: ask again in a while"
        raise HTTPException(503, reason, {"Retry-After": str(int(problems.RETRY_AFTER))})
    return StateAnswer(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses=problems.responses(401, 403)
    | {200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """What is measured, for Prometheus."""
    return Response(generate_latest(request.app.state.meters.registry), media_type=CONTENT_TYPE_LATEST)


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _who(request: Request) -> tuple[str, str]:
    """The owner of what is kept, and the session that takes turns: a key, or else an address."""
    owner: str = request.state.owner
    return owner, owner or (request.client.host if request.client else "")


async def _while_there(request: Request, ticket: Ticket[T]) -> T:
    """The result, for as long as the client waits for it; cancelled when it is gone."""
    answer = asyncio.ensure_future(ticket.answer())
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            ticket.cancel()
        return await answer
    finally:
        gone.cancel()
        if not answer.done():
            answer.cancel()


async def _gone(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _media(request: Request) -> str:
    """The form of an image that the client prefers; 406 if it takes none of them."""
    asked = request.headers.get("accept", "*/*")
    wishes: list[tuple[float, str]] = []
    for part in asked.split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        given = [each[2:] for each in parameters if each.startswith("q=")]
        try:
            wishes.append((float(given[0]) if given else 1.0, kind))
        except ValueError:
            continue
    for quality, kind in sorted(wishes, key=lambda wish: -wish[0]):
        if quality > 0 and kind in ("*/*", "image/*"):
            return next(iter(KINDS))
        if quality > 0 and kind in KINDS:
            return kind
    raise HTTPException(406, f"no image is {asked[:100]!r}: accept one of {', '.join(KINDS)}")


async def _picture(id: str, edited: Edited, media: str) -> Response:
    """The image with what is to be told of it."""
    data = await run_in_threadpool(images.encode, edited.pictures[0], KINDS[media])
    timings = edited.cost.timings
    stages = {"wait": edited.cost.waited} | {
        stage: getattr(timings, stage) for stage in ("encode", "invert", "edit", "decode")
    }
    headers = {
        "RNRI-Inversion": id,
        "RNRI-NFE": str(edited.cost.nfe),
        "RNRI-Batch": str(edited.batch),
        "RNRI-Remarks": _short(edited.remarks),
        "Server-Timing": ", ".join(f"{stage};dur={1000 * spent:.1f}" for stage, spent in stages.items()),
        "Vary": "Accept",
    }
    return Response(data, media_type=media, headers=headers)


def _short(remarks: Sequence[str]) -> str:
    """As JSON that a header can hold."""
    return json.dumps([remark if len(remark) < 300 else f"{remark[:300]}…" for remark in remarks[:4]])


def _solver(name: str, method: type[Method], *, wrapper: bool) -> SolverAnswer:
    about = " ".join((getdoc(method) or "").partition("\n\n")[0].replace("``", "").split())
    options = [
        OptionAnswer(
            name=each.name,
            type=each.kind.__name__,
            default=cast(Scalar, each.default),
            about=each.about,
            low=finite(each.low),
            high=finite(each.high),
            choices=list(each.choices),
        )
        for each in method.options()
    ]
    source = None if wrapper else f"{method.source}, {method.passage}"
    return SolverAnswer(name=name, about=about, wrapper=wrapper, source=source, options=options)
