"""The API over real connections: what it answers, whom it refuses, and that nobody gets what is another's."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from rnri_core.solvers import SOLVERS, WRAPPERS
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rnri.editing.config import EditConfig
from rnri.images import read
from rnri.web.access import Access, read_keys
from rnri.web.api import Options
from rnri.web.client import Client, Frame, Refused, Values
from rnri.web.engine import Engine, Limits
from rnri.web.serving import Address, check_address
from tests.engines import control_with
from tests.served import FAST, OTHER, SOURCE, TARGET, hold, picture, served, until

LATE = control_with("strength")
KEYS = ("0123456789abcdef-mine", "0123456789abcdef-yours")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Engine]]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: tuple[str, Engine]) -> Iterator[Client]:
    with Client(server[0], retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def http(server: tuple[str, Engine]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server[0], timeout=60, trust_env=False) as http:
        yield http


@pytest.fixture(scope="module")
def id(client: Client) -> str:
    return client.invert(picture(), SOURCE, FAST).id


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)), np.int16)


# --- what is answered -------------------------------------------------------------------------------------------


def test_an_edit_is_that_of_the_editor(server: tuple[str, Engine], client: Client) -> None:
    inversion = client.invert(picture(), SOURCE, FAST)
    editor = server[1].editor
    source = editor.invert(read(Image.open(io.BytesIO(picture()))), SOURCE, steps=2, iterations=1)
    frame = client.edit(inversion.id, TARGET, {"guidance": 2.0})
    assert (
        np.abs(pixels(frame.image) - np.asarray(editor.edit(source, TARGET, guidance=2.0).picture, np.int16)).max() <= 1
    )
    assert (frame.inversion, frame.nfe, frame.batch, frame.remarks) == (inversion.id, 4, 1, ())
    assert inversion.answer["cost"]["nfe"] == source.nfe
    assert [inversion.answer[name] for name in ("width", "height", "steps")] == [30, 20, 2]
    assert inversion.inverter == source.provenance.inverter
    both = client.invert_and_edit(picture(), SOURCE, TARGET, {**FAST, "guidance": 2.0})
    assert both.image == frame.image
    assert client.inversion(both.inversion).psnr_db == inversion.psnr_db


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/png", "PNG"),
        ("image/jpeg", "JPEG"),
        ("image/webp", "WEBP"),
        ("*/*", "PNG"),
        ("text/html, image/webp;q=0.9, image/jpeg;q=0.5", "WEBP"),
        ("image/webp;q=0, image/*;q=0.1", "PNG"),
    ],
)
def test_the_image_is_of_the_kind_accepted(http: httpx.Client, id: str, accept: str, kind: str) -> None:
    answer = http.post(
        f"/v1/inversions/{id}/edits", json={"prompt": TARGET, "width": 9, "height": 7}, headers={"Accept": accept}
    )
    image = Image.open(io.BytesIO(answer.content))
    assert (answer.status_code, image.format, image.size) == (200, kind, (9, 7))
    assert answer.headers["content-type"] == Image.MIME[kind]
    assert "edit;dur=" in answer.headers["server-timing"]
    assert answer.headers["cache-control"] == "no-store"


def test_fields_have_their_old_names_until_0_3(client: Client, http: httpx.Client) -> None:
    old: Values = {
        "solver": "averaged",
        "steps": 2,
        "budget": 3,
        "correct": True,
        "start": "noised",
        "predictor": False,
    }
    new: Values = {"inverter": "averaged", "steps": 2, "iterations": 3, "noise_maps": True, "init": "noised"}
    old_inversion, inversion = (client.invert(picture(), SOURCE, fields) for fields in (old, new))
    assert (old_inversion.inverter, old_inversion.psnr_db) == (inversion.inverter, inversion.psnr_db)
    assert inversion.answer["remarks"] == []
    remarks = old_inversion.answer["remarks"]
    assert remarks[0] == "field 'budget' is now 'iterations'; the old name goes in 0.3"
    assert [remark.split("'")[1::2] for remark in remarks] == [
        ["budget", "iterations"],
        ["correct", "noise_maps"],
        ["predictor", "init"],
        ["solver", "inverter"],
        ["start", "init"],
    ]
    frame = client.invert_and_edit(picture(), SOURCE, TARGET, {"solver": "explicit", "steps": 2})
    assert frame.remarks == ("field 'solver' is now 'inverter'; the old name goes in 0.3",)


def test_controls_and_steps_of_an_edit(client: Client, server: tuple[str, Engine]) -> None:
    editor = server[1].editor
    inversion = client.invert(picture(), SOURCE, {"inverter": "faithful", "steps": 2})
    source = editor.invert(read(Image.open(io.BytesIO(picture()))), SOURCE, inverter="faithful", steps=2)
    cases: list[tuple[Values, EditConfig]] = [
        ({"controls": [LATE]}, EditConfig(controls=(LATE,))),
        ({"controls": []}, EditConfig(controls=())),
        ({"edit_steps": 2}, EditConfig(steps=2)),
    ]
    for fields, config in cases:
        frame = client.edit(inversion.id, TARGET, fields)
        expected = np.asarray(editor.edit(source, TARGET, config).picture, np.int16)
        assert np.abs(pixels(frame.image) - expected).max() <= 1


def test_an_inversion_is_shown_and_deleted(http: httpx.Client) -> None:
    made = http.post("/v1/inversions", data={"prompt": SOURCE, "steps": "2"}, files={"image": picture()})
    assert made.status_code == 201
    place = made.headers["location"]
    assert http.get(place).json() == made.json()
    assert http.delete(place).status_code == 204
    for gone in (http.get(place), http.delete(place), http.post(f"{place}/edits", json={"prompt": TARGET})):
        assert gone.status_code == 404
        assert "there is no inversion" in gone.json()["detail"]


def test_what_there_is(http: httpx.Client, client: Client, server: tuple[str, Engine]) -> None:
    served_one, *others = client.models()
    assert served_one["fingerprint"] == server[1].editor.model.fingerprint
    assert [other["name"] for other in others] == ["scenes", "scenes-turbo"]
    assert [each["name"] for each in client.solvers()] == [*SOLVERS, *WRAPPERS]
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    text = http.get("/metrics").text
    assert 'rnri_requests_total{handler="/healthz",status="200"}' in text
    assert "rnri_waiting 0.0" in text


# --- bad requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field", "cure"),
    [
        ({"prompt": " "}, "prompt", "say what the image shows"),
        ({"prompt": "x" * 1001}, "prompt", "at most 1000 characters"),
        ({"inverter": "magic"}, "inverter", "there are explicit"),
        ({"inverter": "gnri:eta=x"}, "inverter", "is not a float"),
        ({"steps": "0"}, "steps", "greater than or equal to 1"),
        ({"strength": "nan"}, "strength", "finite number"),
        ({"strength": "0.1"}, "strength", "give 0.5 to 1"),
        ({"iterations": "0"}, "iterations", "match pattern"),
        ({"tol": "-1"}, "tol", "greater than 0"),
        ({"seed": str(2**63)}, "seed", "less than or equal to"),
        ({"init": "soon"}, "init", "'clean', 'noised'"),
        ({"solver": "magic"}, "inverter", "there are explicit"),
        ({"start": "soon"}, "init", "'clean', 'noised'"),
    ],
)
def test_a_wrong_field_is_named(http: httpx.Client, fields: dict[str, str], field: str, cure: str) -> None:
    answer = http.post("/v1/inversions", data={"prompt": SOURCE, "steps": "2", **fields}, files={"image": picture()})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert [each["field"] for each in problem["errors"]] == [field]
    assert cure in problem["detail"]


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (b"", "the image is not a PNG, JPEG or WebP image: convert it"),
        (b"GIF89a", "the image is not a PNG, JPEG or WebP image: convert it"),
        (picture()[:200], "the image is truncated or damaged"),
    ],
)
def test_what_is_no_image(http: httpx.Client, image: bytes, complaint: str) -> None:
    answer = http.post("/v1/inversions", data={"prompt": SOURCE}, files={"image": image})
    assert answer.status_code == 422
    assert complaint in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "image"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({}, 422, "prompt: Field required"),
        ({"prompt": TARGET, "colour": "red"}, 422, "colour: Extra inputs are not permitted"),
        ({"prompt": TARGET, "guidance": 101}, 422, "guidance: Input should be less than or equal to 100"),
        ({"prompt": TARGET, "negative": OTHER}, 422, "has no effect at guidance 1: raise the guidance"),
        ({"prompt": TARGET, "controls": ["magic"]}, 422, "no control is called 'magic'"),
        ({"prompt": TARGET, "edit_steps": 3, "controls": [LATE]}, 422, "steps=3 and controls exclude each other"),
        ({"prompt": TARGET, "width": 3}, 422, "give width and height, or neither"),
        ({"prompt": TARGET, "strength": 0.1}, 422, "strength=0.1 is out of range: give 0.5 to 1"),
    ],
)
def test_what_cannot_be_drawn(http: httpx.Client, id: str, body: dict[str, object], status: int, detail: str) -> None:
    answer = http.post(f"/v1/inversions/{id}/edits", json=body)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert detail in answer.json()["detail"]


def test_what_is_not_there(http: httpx.Client, id: str) -> None:
    for answer, status in (
        (http.get("/nowhere"), 404),
        (http.put("/v1/models"), 405),
        (http.post(f"/v1/inversions/{id}/edits", json={"prompt": TARGET}, headers={"Accept": "text/html"}), 406),
        (http.post(f"/v1/inversions/{id}/edits", content=b"{", headers={"Content-Type": "application/json"}), 422),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_what_is_too_large_is_refused_whether_it_says_so_or_not() -> None:
    with served(Limits(pixels=599), Options(max_bytes=5000)) as (url, _), httpx.Client(trust_env=False) as http:
        for body in (b"x" * 5001, (b"x" * 1000 for _ in range(6))):
            answer = http.post(
                f"{url}/v1/edits", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
            )
            assert answer.status_code == 413
            assert answer.json()["detail"] == "the request is larger than 5,000 bytes: send a smaller image"
        answer = http.post(f"{url}/v1/inversions", data={"prompt": SOURCE}, files={"image": picture()})
        assert answer.status_code == 422
        assert "the image has 30×20 pixels, over 599: scale it down first" in answer.json()["detail"]


def test_a_fault_of_the_server_tells_nothing_of_it() -> None:
    with served() as (url, engine), httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        engine.editor.model.unet.conv_out = None
        answer = http.post("/v1/inversions", data={"prompt": SOURCE}, files={"image": picture()})
        assert answer.status_code == 500
        assert answer.json()["title"] == "Internal Server Error"
        assert not {"Traceback", "NoneType", "/", ".py"} & set(answer.json()["detail"].split())
        assert http.get("/healthz").status_code == 200


# --- who may ask ------------------------------------------------------------------------------------------------


def test_keys_keep_strangers_out_and_owners_apart(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# ours\n\n" + "\n".join(KEYS))
    access = Access(read_keys(tmp_path / "keys"))
    with served(options=Options(access)) as (url, _):
        with Client(url, key=KEYS[0]) as mine, Client(url, key=KEYS[1]) as yours, Client(url) as nobody:
            id = mine.invert(picture(), SOURCE, FAST).id
            assert mine.edit(id, TARGET).nfe == 2
            for ask in (yours.inversion, yours.delete, lambda id: yours.edit(id, TARGET)):
                with pytest.raises(Refused, match="there is no inversion") as refused:
                    ask(id)
                assert refused.value.status == 404
            with yours.live(id) as live:
                live.send(TARGET)
                with pytest.raises(Refused, match="there is no inversion"):
                    live.receive()
            with pytest.raises(Refused, match="a key is needed: send it as") as refused:
                nobody.models()
            assert refused.value.status == 401
            with pytest.raises(InvalidStatus), nobody.live(id):
                pass
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert http.get("/healthz").status_code == 200
            assert http.get("/metrics").status_code == 401
            assert http.get("/v1/models", headers={"X-API-Key": KEYS[0]}).status_code == 200
            assert http.get("/v1/models", headers={"X-API-Key": KEYS[0][:-1]}).status_code == 401


@pytest.mark.parametrize("text", ["", "# none\n", "short\n", "0123456789abcdef\tq\n"])
def test_keys_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ValueError, match=r"one a line|a key needs 16 or more"):
        read_keys(tmp_path / "keys")


def test_no_key_no_network() -> None:
    check_address("127.0.0.1", Access(), insecure=False)
    check_address("::1", Access(), insecure=False)
    check_address("0.0.0.0", Access(), insecure=True)
    check_address("0.0.0.0", Access(frozenset({"digest"})), insecure=False)
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):
        with pytest.raises(ValueError, match="lets everyone on the network use the server: give --api-key-file"):
            check_address(host, Access(), insecure=False)
    assert Address().host == "127.0.0.1"


def test_other_pages_of_a_browser_may_not_ask(http: httpx.Client, server: tuple[str, Engine]) -> None:
    own = server[0]
    assert http.get("/v1/models", headers={"Origin": own}).status_code == 200
    stranger = http.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert stranger.status_code == 403
    assert "access-control-allow-origin" not in stranger.headers
    rebound = http.get("/v1/models", headers={"Host": "evil.example", "Origin": "http://evil.example"})
    assert rebound.status_code == 400
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWluZQ==\r\n"
    )
    host, port = own.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(f"GET /v1/live HTTP/1.1\r\nHost: evil.example\r\n{upgrade}\r\n".encode())
        assert b" 400 " in line.recv(100)
    with pytest.raises(InvalidStatus):
        connect(
            own.replace("http", "ws") + "/v1/live", additional_headers={"Origin": "https://evil.example"}, proxy=None
        )


def test_pages_that_are_named_may_ask() -> None:
    page = "https://page.example"
    options = Options(Access(origins=frozenset({page})))
    with served(options=options) as (url, _), httpx.Client(base_url=url, trust_env=False) as http:
        answer = http.get("/v1/models", headers={"Origin": page})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, page)
        headers = {"Origin": page, "Access-Control-Request-Method": "POST"}
        assert http.options("/v1/edits", headers=headers).status_code == 200


# --- many at once -----------------------------------------------------------------------------------------------


def test_a_full_queue_says_when_to_come_again() -> None:
    with served(Limits(queue=1)) as (url, engine), Client(url, retries=0) as client:
        go = hold(engine)
        engine.do(lambda _: None)
        with pytest.raises(Refused, match="1 requests wait already") as refused:
            client.invert(picture(), SOURCE)
        assert (refused.value.status, (refused.value.retry_after or 0) >= 1) == (503, True)
        assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 503
        go.set()


def test_a_deadline_is_kept(http: httpx.Client, server: tuple[str, Engine], id: str) -> None:
    go = hold(server[1])
    answer = http.post(f"/v1/inversions/{id}/edits?timeout=0.1", json={"prompt": TARGET})
    go.set()
    assert answer.status_code == 504
    assert "not done within 0.1 s" in answer.json()["detail"]


def test_who_goes_away_stops_its_work(http: httpx.Client, server: tuple[str, Engine], id: str) -> None:
    engine = server[1]
    go = hold(engine)
    before = engine.counts["calls"]
    with pytest.raises(httpx.ReadTimeout):
        http.post(f"/v1/inversions/{id}/edits", json={"prompt": TARGET}, timeout=0.2)
    until(lambda: engine.waiting == 0)
    go.set()
    engine.do(lambda _: None).result()
    assert engine.counts["calls"] == before


def test_edits_at_once_share_calls_and_none_gets_anothers(client: Client, server: tuple[str, Engine]) -> None:
    edits = [(client.invert(picture(n), SOURCE, FAST).id, prompt) for n in range(2) for prompt in (TARGET, OTHER)]
    alone = [client.edit(*each) for each in edits]
    go = hold(server[1])
    together: dict[int, Frame] = {}

    def ask(n: int) -> None:
        together[n] = client.edit(*edits[n])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(edits))]
    for thread in threads:
        thread.start()
    until(lambda: server[1].waiting == len(edits))
    go.set()
    for thread in threads:
        thread.join()
    for n, frame in enumerate(alone):
        assert together[n].batch == len(edits)
        assert together[n].inversion == edits[n][0]
        assert np.abs(pixels(together[n].image) - pixels(frame.image)).max() <= 1
