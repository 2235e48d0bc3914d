"""Edits as one types: the newest prompt wins, on a connection that tells what is wrong and goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rnri.web.api import Options
from rnri.web.client import Client, Refused
from rnri.web.engine import Engine
from tests.served import FAST, OTHER, SOURCE, TARGET, hold, picture, served, until


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Engine]]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: tuple[str, Engine]) -> Iterator[Client]:
    with Client(server[0], retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def id(client: Client) -> str:
    return client.invert(picture(), SOURCE, FAST).id


def test_the_newest_prompt_wins(client: Client, server: tuple[str, Engine], id: str) -> None:
    with client.live(id, format="png") as live:
        go = hold(server[1])
        before = server[1].counts["calls"]
        for prompt in (OTHER, SOURCE, TARGET):
            last = live.send(prompt)
        until(lambda: server[1].counts["superseded"] == 2)
        go.set()
        number, frame = live.receive()
        assert number == last
        assert frame.image == client.edit(id, TARGET).image
        assert server[1].counts["calls"] - before == 4
        live.send(" ")
        with pytest.raises(Refused, match=r"prompt: .*it is empty"):
            live.receive()
        live.send(TARGET, {"guidance": 2.0})
        assert live.receive()[1].nfe == 4


def test_a_live_connection_that_ends_takes_its_work_along(client: Client, server: tuple[str, Engine], id: str) -> None:
    go = hold(server[1])
    with client.live(id) as live:
        live.send(TARGET)
        until(lambda: server[1].waiting == 1)
    until(lambda: server[1].waiting == 0)
    go.set()


def test_no_more_live_connections_than_allowed() -> None:
    with (
        served(options=Options(live=1)) as (url, _),
        Client(url) as client,
        client.live("x") as first,
        client.live("x") as second,
    ):
        with pytest.raises(ConnectionClosed, match="1013"):
            second.receive()
        first.send(TARGET)
        with pytest.raises(Refused, match="there is no inversion"):
            first.receive()


@pytest.mark.parametrize(("message", "code"), [(b"bytes", 1003), ("x" * 33_000, 1009)])
def test_what_live_does_not_read(server: tuple[str, Engine], message: bytes | str, code: int) -> None:
    with connect(server[0].replace("http", "ws") + "/v1/live", proxy=None) as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosed, match=str(code)):
            socket.recv()


def test_live_says_what_it_could_not_read(server: tuple[str, Engine]) -> None:
    with connect(server[0].replace("http", "ws") + "/v1/live", proxy=None) as socket:
        for text in ("{", "[]", '{"inversion": "a/b", "prompt": "x"}'):
            socket.send(text)
            assert json.loads(socket.recv())["problem"]["status"] == 422
