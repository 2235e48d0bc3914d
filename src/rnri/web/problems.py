"""Errors as RFC 9457 has them: what is wrong, in which field, and how it is mended; never where in the code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from rnri_core.errors import RnriError
from starlette.exceptions import HTTPException

from rnri.web.engine import Missing
from rnri.web.tickets import Cancelled, Full, Late, Stopped, Superseded

MEDIA = "application/problem+json"
GONE = 499
"""What is noted of a request whose client went away; nobody reads it."""
RETRY_AFTER = 5.0
MAX_ERRORS = 20
"""Fields that are named in one answer."""


class FieldProblem(BaseModel):
    """One field that cannot be as it is."""

    field: str = Field(description="Its name in the request.", examples=["guidance"])
    detail: str = Field(description="What it must be.", examples=["Input should be less than or equal to 100"])


class Problem(BaseModel):
    """An RFC 9457 problem."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "guidance: Input should be less than or equal to 100",
                "errors": [{"field": "guidance", "detail": "Input should be less than or equal to 100"}],
            }
        }
    )
    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong and how it is mended, in one line.")
    errors: list[FieldProblem] = Field(default=[], description="The fields that are wrong.")


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
    """The answer that says so."""
    title = "Client Closed Request" if status == GONE else HTTPStatus(status).phrase
    body = Problem(title=title, status=status, detail=" ".join(detail.split()), errors=list(errors))
    return JSONResponse(body.model_dump(), status, dict(headers or {}), media_type=MEDIA)


def of(error: Exception) -> JSONResponse:
    """The answer to an error of the engine or of a request."""
    if isinstance(error, Stopped):
        return _stopped(error)
    if isinstance(error, Missing):
        return problem(404, str(error.args[0]))
    if isinstance(error, RequestValidationError):
        wrong = error.errors()[:MAX_ERRORS]
        errors = [FieldProblem(field=_place(each["loc"]), detail=_told(each["msg"])) for each in wrong]
        return problem(422, "; ".join(f"{each.field}: {each.detail}" for each in errors[:3]), errors=errors)
    if isinstance(error, HTTPException):
        return problem(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, RnriError):
        detail, field = _told(str(error)), _FORM.get(error.field or "", error.field)
        return problem(422, detail, errors=[FieldProblem(field=field, detail=detail)] if field in _FIELDS else [])
    if isinstance(error, ValueError):
        return problem(422, _told(str(error)))
    return problem(500, "this is a fault of the server, not of the request: tell who runs it when it happened")


def install(app: FastAPI) -> None:
    """Let what is no fault of the server be answered so."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return of(error)

    for kind in (Stopped, Missing, ValueError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


_FORM = {"inverter": "solver", "iterations": "budget", "init": "start", "noise_maps": "correct"}
"""Fields of configs that requests call otherwise."""
_FIELDS = {"image", "prompt", "solver", "steps", "strength", "guidance", "budget", "tol", "seed", "negative", "size"}


def _stopped(error: Stopped) -> JSONResponse:
    if isinstance(error, Late):
        return problem(504, str(error))
    if isinstance(error, Superseded):
        return problem(409, str(error))
    if isinstance(error, Cancelled):
        return problem(GONE, "the client is gone")
    after = error.retry_after if isinstance(error, Full) else RETRY_AFTER
    return problem(503, str(error), headers={"Retry-After": str(math.ceil(after))})


def _place(where: Sequence[str | int]) -> str:
    """The field, without the part of the request it is in: ("body", "size", 0) is size.0."""
    parts = [str(part) for part in where[1:]] or [str(part) for part in where]
    return ".".join(parts)[:100]


def _told(message: str) -> str:
    """One line of reasonable length."""
    line = " ".join(message.removeprefix("Value error, ").split())
    return line if len(line) <= 500 else f"{line[:500]}…"
