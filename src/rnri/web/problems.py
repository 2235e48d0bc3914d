"""Errors as problem details (RFC 9457): what is wrong, in which field, and the cure; never where in the code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from rnri_core.errors import RnriError
from starlette.exceptions import HTTPException

from rnri.web.engine import Missing
from rnri.web.tickets import Cancelled, Full, Late, Stopped, Superseded

MEDIA = "application/problem+json"
GONE = 499
"""Status of a request whose client closed the connection; for metrics alone."""
RETRY_AFTER = 5.0
MAX_ERRORS = 20
"""Fields that are named in one answer."""
MAX_LINE = 500


class FieldProblem(BaseModel):
    """A field of a request that is refused."""

    field: str = Field(description="Its name in the request.", examples=["guidance"])
    detail: str = Field(description="The rule it breaks.", examples=["Input should be less than or equal to 100"])


class Problem(BaseModel):
    """An RFC 9457 problem."""

    type: str = "about:blank"
    title: str = Field(description="The status in words.", examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(
        description="The problem and its cure, in one line.",
        examples=["guidance: Input should be less than or equal to 100"],
    )
    errors: list[FieldProblem] = Field(default=[], description="The fields that are refused.")


def responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of an operation that answers with problems of these statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        code: {"description": HTTPStatus(code).phrase, "content": {MEDIA: {"schema": schema}}, "model": Problem}
        for code in codes
    }


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response of a problem."""
    title = "Client Closed Request" if status == GONE else HTTPStatus(status).phrase
    body = Problem(title=title, status=status, detail=" ".join(detail.split()), errors=list(errors))
    return JSONResponse(body.model_dump(), status, dict(headers or {}), media_type=MEDIA)


def of(error: Exception) -> JSONResponse:
    """The response to an error of the engine or of a request."""
    if isinstance(error, Stopped):
        return _stopped(error)
    if isinstance(error, Missing):
        return problem(404, str(error.args[0]))
    if isinstance(error, (RequestValidationError, ValidationError)):
        errors = field_problems(error)
        return problem(422, summary(errors), errors=errors)
    if isinstance(error, HTTPException):
        return problem(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, ValueError):
        detail, field = _line(str(error)), error.field if isinstance(error, RnriError) else None
        return problem(422, detail, errors=[FieldProblem(field=field, detail=detail)] if field else [])
    return problem(500, "this is a fault of the server, not of the request: report when it happened to its operator")


def field_problems(error: RequestValidationError | ValidationError) -> list[FieldProblem]:
    """The fields that a schema refuses, `MAX_ERRORS` at most."""
    return [
        FieldProblem(field=_field(each["loc"], error), detail=_line(each["msg"]))
        for each in error.errors()[:MAX_ERRORS]
    ]


def summary(errors: Sequence[FieldProblem]) -> str:
    """The first few fields and what is wrong with them, in one line."""
    return "; ".join(f"{each.field}: {each.detail}" if each.field else each.detail for each in errors[:3])


def install(app: FastAPI) -> None:
    """Register the exception handlers."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return of(error)

    for kind in (Stopped, Missing, ValueError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _stopped(error: Stopped) -> JSONResponse:
    if isinstance(error, Late):
        return problem(504, str(error))
    if isinstance(error, Superseded):
        return problem(409, str(error))
    if isinstance(error, Cancelled):
        return problem(GONE, "the client is gone")
    after = error.retry_after if isinstance(error, Full) else RETRY_AFTER
    return problem(503, str(error), headers={"Retry-After": str(math.ceil(after))})


def _field(place: Sequence[str | int], error: Exception) -> str:
    """The field of a place, without the part of the request it is in: ("body", "size", 0) is size.0."""
    inside = place[1:] if isinstance(error, RequestValidationError) and len(place) > 1 else place
    return ".".join(map(str, inside))[:100]


def _line(message: str) -> str:
    """One line of reasonable length."""
    line = " ".join(message.removeprefix("Value error, ").split())
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"
