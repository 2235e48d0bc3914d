"""What one request may hold: how long, of how many parts, how deep, and nothing that names a file of the server."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rnri_core.registry import spell
from rnri_core.solvers import SOLVERS
from websockets.sync.client import connect

from rnri.controls import CONTROLS
from rnri.editing.editor import Editor
from rnri.web import bodies
from rnri.web.access import LOCAL_NAMES, Access
from rnri.web.bodies import MAX_BRACKETS, MAX_PARTS, MAX_TEXT
from rnri.web.client import Client
from rnri.web.engine import Engine
from rnri.web.page_handlers import PageHandlers
from rnri.web.page_pictures import to_url
from rnri.web.problems import MAX_ERRORS
from rnri.web.schemas import EditRequest, LiveRequest
from rnri.web.serving import Address, Server, background
from tests import tiny
from tests.engines import control_with
from tests.served import FAST, SOURCE, TARGET, picture, served

JSON = {"Content-Type": "application/json"}
KEYS = json.dumps({f"k{n}": n for n in range(2500)}).replace(" ", "").encode()
"""Many, in as much text as is read."""
ABUSED = {
    "long": (json.dumps({f"unknown key {n}": n for n in range(100_000)}).encode(), 413, "is larger than 32,768 bytes"),
    "deep": (b"[" * 5000 + b"]" * 5000, 422, f"the JSON has 5,000 brackets, over {MAX_BRACKETS}"),
    "keys": (KEYS, 422, "2500 fields are given: send some of prompt, guidance"),
    "commas": (b'{"prompt": [' + b"1," * 9000 + b"1]}", 422, f"the JSON has 9,000 commas, over {MAX_PARTS:,}"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Engine]]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def id(server: tuple[str, Engine]) -> Iterator[str]:
    with Client(server[0]) as client:
        yield client.invert(picture(), SOURCE, FAST).id


@pytest.fixture(scope="module")
def page(server: tuple[str, Engine]) -> Iterator[str]:
    """Where the page of the same engine is."""
    pytest.importorskip("gradio", reason="the page needs the extra ui: pip install 'rnri[ui]'")
    from rnri.web.page import app

    made = app(server[1], Access(hosts=LOCAL_NAMES))
    with (
        Engine(Editor.from_pipe(tiny.pipeline())) as other,  # a server closes its engine
        background(Server(made, other, Address(port=0), grace=2)) as url,
    ):
        yield url


@pytest.mark.parametrize("name", ABUSED)
def test_json_of_too_many_parts_is_refused_in_a_line(server: tuple[str, Engine], id: str, name: str) -> None:
    body, status, detail = ABUSED[name]
    answer = httpx.post(f"{server[0]}/v1/inversions/{id}/edits", content=body, headers=JSON, trust_env=False)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert len(answer.content) < 1000


def test_the_limits_leave_room_for_the_longest_prompts(server: tuple[str, Engine], id: str) -> None:
    """The longest prompts there may be, each character as long as JSON makes it."""
    body = json.dumps({"prompt": "\U0001f3a8" * 1000, "negative": "," * 1000, "guidance": 2.0}).encode()
    assert len(body) < MAX_TEXT
    answer = httpx.post(
        f"{server[0]}/v1/inversions/{id}/edits", content=body, headers=JSON, trust_env=False, timeout=60
    )
    assert answer.status_code == 200


def test_few_of_many_errors_are_named(server: tuple[str, Engine], id: str) -> None:
    body = {f"k{n}": n for n in range(12)} | {"guidance": "x" * 5000}
    answer = httpx.post(f"{server[0]}/v1/inversions/{id}/edits", json=body, trust_env=False)
    assert answer.status_code == 422
    assert 12 <= len(answer.json()["errors"]) <= MAX_ERRORS
    assert len(answer.content) < 5000


@pytest.mark.parametrize("name", ["deep", "keys", "commas"])
def test_messages_of_too_many_parts_are_refused_in_a_line(server: tuple[str, Engine], name: str) -> None:
    body, _, detail = ABUSED[name]
    with connect(server[0].replace("http", "ws") + "/v1/live", proxy=None) as socket:
        socket.send(body.decode())
        answer = str(socket.recv())
        assert detail in json.loads(answer)["problem"]["detail"]
        assert len(answer) < 1000


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"[" * 5000, 422, f"over {MAX_BRACKETS}"),
        (b"1," * 5000, 422, f"over {MAX_PARTS:,}"),
        (b"{", 422, "is no JSON"),
        (b"\xff", 422, "is no JSON"),
    ],
)
def test_the_page_refuses_json_before_it_is_read(page: str, body: bytes, status: int, detail: str) -> None:
    answer = httpx.post(f"{page}/page/edit", content=body, headers=JSON, trust_env=False)
    assert (answer.status_code, detail in answer.json()["detail"]) == (status, True)


def test_a_body_that_does_not_come_is_given_up(server: tuple[str, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.2)
    for kind in ("application/json", "multipart/form-data; boundary=x"):
        host, port = server[0].removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as line:
            head = f"POST /v1/edits HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 9\r\n\r\n"
            line.sendall(head.encode())
            assert b" 408 " in line.recv(100)


def test_a_spec_of_very_many_commas_is_refused(server: tuple[str, Engine]) -> None:
    answer = ask(server[1], "invert", inverter={"name": "anderson", "fields": {"memory": "," * 16_000}})
    assert "is no field" in answer["error"]
    assert len(answer["error"]) < 600


# --- nothing names a file -----------------------------------------------------------------------------------------


class Opened:
    """What this process opens while it is watched, of the places that were named."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.found: list[str] = []
        sys.addaudithook(self._see)  # for the life of the process

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.names and event in ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo"):
            self.found += [name for name in self.names if name in repr(arguments)]


MASK = control_with("mask")
"""The control that takes a file."""
OPENED = Opened()


@pytest.fixture
def named(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """A picture's path, a Hub id and an address, none of which may be looked at meanwhile."""
    path = tmp_path / "canary.png"
    path.write_bytes(picture())
    OPENED.names, OPENED.found = (str(path), str(tmp_path), "canary/model", "canary.example"), []
    yield (str(path), "canary/model", "http://canary.example/picture.png")
    OPENED.names, found = (), OPENED.found
    assert found == []


def ask(engine: Engine, name: str, /, **values: Any) -> dict[str, Any]:
    """One answer of a handler, as the page gets it."""
    act = next(act for act in PageHandlers(engine).handlers() if getattr(act, "__name__", "") == name)
    request = {
        "token": "a-token-of-a-browser-tab",
        "picture": to_url(picture(), "image/png"),
        "prompt": SOURCE,
        **values,
    }
    return asyncio.run(act(request))


def test_a_watch_sees_what_is_opened(tmp_path: Path) -> None:
    OPENED.names, OPENED.found = (str(tmp_path),), []
    (tmp_path / "seen").write_bytes(b"")
    OPENED.names = ()
    assert OPENED.found


def test_no_field_of_the_page_names_a_file(server: tuple[str, Engine], named: tuple[str, ...]) -> None:
    engine, lines = server[1], set[str]()
    found = ask(engine, "invert", steps=2, iterations=1)
    edit = {"id": found["id"], "prompts": [TARGET], "strength": 1.0, "guidance": 1.0, "kind": "image"}
    requests = [("download", field) for field in (*edit, "picture", "mask", "controls", "name", "token")]
    requests += [("invert", field) for field in ("picture", "inverter", "iterations", "token")]
    for place in named:
        for name, field in requests:
            for value in (place, [{"name": place, "fields": {"mask": place}}]):
                lines.add(str(ask(engine, name, **(edit | {field: value})).get("error")))
        for name, kind in CONTROLS.items():
            for option in kind.options():
                if option.kind in (str, object):
                    for value in (place, f"x',mask='{place}"):
                        ask(engine, "edit", controls=[{"name": name, "fields": {option.name: value}}], **edit)
        for name, method in SOLVERS.items():
            for option in method.options():
                answer = ask(engine, "invert", inverter={"name": name, "fields": {option.name: place}})
                assert option.name in answer["error"]  # numbers and choices, none of which it is
    assert not any("exist" in line or "directory" in line for line in lines)


def test_the_masks_path_is_refused_whatever_is_there(server: tuple[str, Engine], named: tuple[str, ...]) -> None:
    found = ask(server[1], "invert", steps=2, iterations=1)
    lines = set()
    for place in (*named, "/nowhere/at/all.png"):
        edit = {"id": found["id"], "prompts": [TARGET], "strength": 1.0, "guidance": 1.0}
        lines.add(ask(server[1], "edit", controls=[{"name": MASK, "fields": {"mask": place}}], **edit)["error"])
    assert len(lines) == 1
    assert "mask is a file, and a request may not name one: upload the picture." in lines.pop()


def test_no_field_of_the_api_names_a_file(server: tuple[str, Engine], id: str, named: tuple[str, ...]) -> None:
    with httpx.Client(base_url=server[0], trust_env=False, timeout=60) as http:
        document = http.get("/openapi.json").json()
        forms = dict[str, list[str]]()
        for path, operations in document["paths"].items():
            content = operations.get("post", {}).get("requestBody", {}).get("content", {})
            if "multipart/form-data" in content:
                schema = content["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
                forms[path] = list(document["components"]["schemas"][schema]["properties"])
        assert set(forms) == {"/v1/inversions", "/v1/edits"}
        for place in named[::2]:
            for path, fields in forms.items():
                data = {"prompt": SOURCE, "source": SOURCE, "steps": "2", "iterations": "1"}
                for field in fields:
                    http.post(path, data=data | {field: place}, files={"image": picture()})
                http.post(path, data=data | {"inverter": spell(MASK, {"mask": place})}, files={"image": picture()})
                http.post(path, data=data, files={"image": (place, picture())})
                http.post(path, data=data | {"image": place})
            for field in EditRequest.model_fields:
                http.post(f"/v1/inversions/{id}/edits", json={"prompt": TARGET, field: place})
            with connect(server[0].replace("http", "ws") + "/v1/live", proxy=None) as socket:
                for field in LiveRequest.model_fields:
                    socket.send(json.dumps({"inversion": id, "prompt": TARGET, field: place}))


def test_of_gradio_only_what_the_page_is_made_of_is_served(page: str, named: tuple[str, ...]) -> None:
    from rnri.web.page import app

    with Engine(Editor.from_pipe(tiny.pipeline())) as engine:
        inner = app(engine, Access()).routes[-1].app  # type: ignore[attr-defined]
    routes = {(method, route.path) for route in all_routes(inner) for method in route.methods or ()}
    served = {(method, path) for method, path in routes if path in ("/", "/config", "/theme.css", "/favicon.ico")}
    served |= {(method, path) for method, path in routes if path.startswith(("/assets/", "/static/"))}
    assert len(routes - served) > 40
    with httpx.Client(base_url=page, trust_env=False) as http:
        for method, path in sorted(routes - served):
            answer = http.request(method, re.sub(r"\{[^}]*\}", named[0], path), headers=JSON)
            assert answer.status_code == 404, (method, path)
        for place in ("/static/../../routes.py", "/assets/%2e%2e/%2e%2e/routes.py", f"/static/{named[0]}"):
            assert http.get(place).status_code in (403, 404)


def all_routes(app: Any) -> Iterator[Any]:
    """The routes of an application and of the routers in it."""
    for route in app.routes:
        if hasattr(route, "methods"):
            yield route
        elif hasattr(route, "routes") or hasattr(route, "original_router"):
            yield from all_routes(getattr(route, "original_router", route))
