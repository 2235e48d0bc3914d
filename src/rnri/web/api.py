"""The HTTP API: requests to the engine, and its results as responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict, TypeVar

from fastapi import APIRouter, FastAPI, Form, Path, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rnri_core.solvers import SOLVERS, WRAPPERS
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import rnri
from rnri import images, models
from rnri.web import live, problems
from rnri.web.access import Access
from rnri.web.bodies import MAX_TEXT
from rnri.web.engine import EditOutput, Engine, Missing
from rnri.web.middleware import Responses, measure, protect
from rnri.web.results import ID_PATTERN, InversionReport
from rnri.web.schemas import (
    EditForm,
    EditRequest,
    InversionForm,
    ModelAnswer,
    Seconds,
    SolverAnswer,
    StateAnswer,
)
from rnri.web.tickets import Ticket

T = TypeVar("T")

KINDS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
"""Media types of an answered image; the first is the default."""

IMAGE_HEADERS = {
    "RNRI-Inversion": "The id of the inversion that was edited.",
    "RNRI-Inverter": "The spec of the inverter that ran, presets resolved.",
    "RNRI-NFE": "Network evaluations of the edit.",
    "RNRI-Batch": "How many images were sampled in the same network calls.",
    "RNRI-Remarks": "A JSON list: words outside the model's vocabulary, and renamed fields in the request.",
    "Server-Timing": "Milliseconds by stage: wait, encode, invert, edit, decode.",
}
"""Headers of an answered image."""

_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image, in the form that Accept prefers.",
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in KINDS},
        "headers": {
            name: {"description": about, "schema": {"type": "string"}} for name, about in IMAGE_HEADERS.items()
        },
    }
}
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {"description": "The image is inverted.", "headers": {"Location": {"schema": {"type": "string"}}}}
}
_BUSY = problems.responses(400, 401, 403, 408, 413, 422, 503, 504)

router = APIRouter()
Id = Annotated[str, Path(pattern=ID_PATTERN, description="The id that POST /v1/inversions answered.")]
Timeout = Annotated[Seconds | None, Query(description="Deadline in seconds; the server's own is the longest.")]


@dataclass(frozen=True)
class Options:
    """Options of a server: who may use it, bytes of a request, live connections."""

    access: Access = field(default_factory=Access)
    max_bytes: int = 20 * 2**20
    live: int = 64


def create_app(engine: Engine, options: Options | None = None) -> FastAPI:
    """The ASGI application that serves an engine, which the caller closes."""
    options = options or Options()
    app = FastAPI(
        title="rnri",
        version=rnri.__version__,
        description="Edit images by text: invert an image once, then sample it with other prompts.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.engine, app.state.live = engine, live.Connections(options.live)
    app.include_router(router)
    app.include_router(live.router)
    problems.install(app)
    exposed = (*IMAGE_HEADERS, "Location", "Retry-After")
    protect(app, options.access, max_bytes=options.max_bytes, max_text=MAX_TEXT, expose=exposed)
    app.state.registry = measure(app, engine)
    app.add_middleware(Responses)
    return app


@router.post("/v1/inversions", status_code=201, response_model=InversionReport, responses=_BUSY | _CREATED)
async def invert(
    request: Request,
    response: Response,
    form: Annotated[InversionForm, Form(media_type="multipart/form-data")],
    timeout: Timeout = None,
) -> InversionReport:
    """Invert an image, to be edited any number of times."""
    report, _ = await _invert(request, form, form.prompt, timeout)
    response.headers["Location"] = f"/v1/inversions/{report.id}"
    return report.model_copy(update={"remarks": [*form.renamed, *report.remarks]})


@router.get("/v1/inversions/{id}", response_model=InversionReport, responses=problems.responses(401, 403, 404, 422))
async def show(request: Request, id: Id) -> InversionReport:
    """Status, accuracy and cost of an inversion."""
    return _engine(request).find(id, request.user.display_name).report


@router.delete("/v1/inversions/{id}", status_code=204, responses=problems.responses(401, 403, 404, 422))
async def delete(request: Request, id: Id) -> Response:
    """Delete an inversion."""
    if not _engine(request).store.delete(id, request.user.display_name):
        raise Missing(f"there is no inversion {id!r}: nothing is left to delete")
    return Response(status_code=204)


@router.post(
    "/v1/inversions/{id}/edits",
    response_class=Response,
    responses=_IMAGE | _BUSY | problems.responses(404, 406),
)
async def edit(request: Request, id: Id, fields: EditRequest, timeout: Timeout = None) -> Response:
    """Edit an inverted image: sample it with another prompt."""
    media, task, who = _media(request), fields.task(fields.strength), _who(request)
    report = _engine(request).find(id, who["owner"]).report
    output = await _result(request, _engine(request).edit(id, task, **who, seconds=timeout))
    return await _image(report, output, media)


@router.post("/v1/edits", response_class=Response, responses=_IMAGE | _BUSY | problems.responses(406))
async def invert_and_edit(
    request: Request,
    form: Annotated[EditForm, Form(media_type="multipart/form-data")],
    timeout: Timeout = None,
) -> Response:
    """Invert an image and edit it; the inversion is stored, and its id is a header of the answer."""
    media, task = _media(request), form.task()
    report, left = await _invert(request, form, form.source, timeout)
    edited = _engine(request).edit(report.id, task, **_who(request), seconds=left)
    return await _image(report, await _result(request, edited), media, form.renamed)


@router.get("/v1/models", response_model=list[ModelAnswer], responses=problems.responses(401, 403))
async def list_models(request: Request) -> list[ModelAnswer]:
    """The model that is served, and those inside the package."""
    model = _engine(request).editor.model
    height, width = model.image_size
    served = ModelAnswer(
        name=model.name if model.name in models.EMBEDDED else "custom",  # a folder's name stays private
        about=models.EMBEDDED.get(model.name, "a model of the operator of this server"),
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
    """The solvers and their wrappers, with options and ranges."""
    solvers = [
        SolverAnswer.of(name, kind, wrapper=False, source=f"{kind.source}, {kind.passage}")
        for name, kind in SOLVERS.items()
    ]
    return solvers + [SolverAnswer.of(name, kind, wrapper=True) for name, kind in WRAPPERS.items()]


@router.get("/healthz", response_model=StateAnswer, responses=problems.responses(403))
async def health() -> StateAnswer:
    """Liveness of the server."""
    return StateAnswer(status="ok")


@router.get("/readyz", response_model=StateAnswer, responses=problems.responses(403, 503))
async def readiness(request: Request) -> StateAnswer:
    """Readiness: whether the server accepts requests."""
    engine = _engine(request)
    if engine.closing or engine.waiting >= engine.limits.queue:
        reason = engine.closing or "the queue is full: ask again in a while"
        raise HTTPException(503, reason, {"Retry-After": str(int(problems.RETRY_AFTER))})
    return StateAnswer(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses=problems.responses(401, 403)
    | {200: {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Metrics of requests and of the engine, for Prometheus."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


class _Who(TypedDict):
    """The owner of stored inversions, and the session that takes turns: a key, or else an address."""

    owner: str
    session: str


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _who(request: Request) -> _Who:
    owner: str = request.user.display_name
    return {"owner": owner, "session": owner or (request.client.host if request.client else "")}


async def _invert(
    request: Request, form: InversionForm | EditForm, prompt: str, timeout: float | None
) -> tuple[InversionReport, float]:
    """Invert the image of a form; with the seconds that are left of the deadline."""
    config, data = form.inversion_config(), await form.image.read()
    ticket = _engine(request).invert(data, prompt, config, **_who(request), seconds=timeout)
    return await _result(request, ticket), ticket.left


async def _result(request: Request, ticket: Ticket[T]) -> T:
    """The result, unless the client closes the connection first, which cancels the ticket."""
    answer = asyncio.ensure_future(ticket.answer())
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            ticket.cancel()
        return await answer
    finally:
        gone.cancel()
        if not answer.done():
            answer.cancel()


async def _disconnected(request: Request) -> None:
    """Returns when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _media(request: Request) -> str:
    """The media type that the client prefers; 406 if it accepts none of `KINDS`."""
    accept = request.headers.get("accept", "*/*")
    choices: list[tuple[float, str]] = []
    for part in accept.split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            choices.append((float(quality), kind))
        except ValueError:
            continue
    for weight, kind in sorted(choices, key=lambda choice: -choice[0]):
        if weight > 0 and kind in ("*/*", "image/*"):
            return next(iter(KINDS))
        if weight > 0 and kind in KINDS:
            return kind
    raise HTTPException(406, f"no image is {accept[:100]!r}: accept one of {', '.join(KINDS)}")


async def _image(report: InversionReport, output: EditOutput, media: str, remarks: Sequence[str] = ()) -> Response:
    """The image of an edit as a response, with its cost in the headers."""
    data = await run_in_threadpool(images.encode, output.pictures[0], KINDS[media])
    seconds = output.cost.seconds.model_dump()
    short = [remark if len(remark) < 300 else f"{remark[:300]}…" for remark in [*remarks, *output.remarks][:4]]
    headers = {
        "RNRI-Inversion": report.id,
        "RNRI-Inverter": report.inverter,
        "RNRI-NFE": str(output.cost.nfe),
        "RNRI-Batch": str(output.batch),
        "RNRI-Remarks": json.dumps(short),
        "Server-Timing": ", ".join(f"{stage};dur={1000 * spent:.1f}" for stage, spent in seconds.items()),
        "Vary": "Accept",
    }
    return Response(data, media_type=media, headers=headers)
