"""Whatever is sent, the server answers as its OpenAPI document says, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rnri.images import decode, encode
from tests.served import SOURCE, picture, process
from tests.tiers import sized

EXAMPLES = sized(check=2, test=6, soak=200)
OPERATIONS = {
    "POST /v1/inversions",
    "GET /v1/inversions/{id}",
    "DELETE /v1/inversions/{id}",
    "POST /v1/inversions/{id}/edits",
    "POST /v1/edits",
    "GET /v1/models",
    "GET /v1/solvers",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """In a process of its own: two threads that read Python's own syntax at once, as Hypothesis does, can both fail."""
    with process("--model", model, "--deadline", 20) as (_, url):
        yield url


def test_every_operation_does_as_documented(url: str) -> None:
    document, seen = schemathesis.openapi.from_url(f"{url}/openapi.json"), set[str]()
    for found in document.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        seen.add(operation.label)

        @given(operation.as_strategy())
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=QUIET, database=None, derandomize=True)
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(checks=CHECKS, timeout=60)

        ask()
    assert seen == OPERATIONS


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file of each kind with some of its bytes changed, some missing, or more than it should have."""
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 8))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    start, end = sorted(draw(st.integers(0, len(data))) for _ in range(2))
    return bytes(draw(st.sampled_from([data, data[:start], data[:start] + data[end:], data + data[start:]])))


FILES = [encode(decode(picture()), kind) for kind in ("PNG", "JPEG", "WEBP")]


@given(st.one_of(damaged(), st.binary(max_size=200)))
@settings(
    max_examples=sized(check=5, test=40, soak=2000),
    deadline=None,
    suppress_health_check=QUIET,
    database=None,
    derandomize=True,
)
def test_any_bytes_are_an_image_or_a_complaint(url: str, data: bytes) -> None:
    fields = {"prompt": SOURCE, "steps": "1", "iterations": "1", "inverter": "explicit"}
    answer = httpx.post(f"{url}/v1/inversions", data=fields, files={"image": data}, timeout=60, trust_env=False)
    assert answer.status_code in (201, 422)
    if answer.status_code == 422:
        assert answer.json()["errors"][0]["field"] == "image"
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
