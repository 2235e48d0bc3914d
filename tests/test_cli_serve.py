"""`rnri serve` as a process: where it says it is, what it refuses to do, and how it stops."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import httpx
import pytest

from rnri.web.client import Client
from tests.conftest import Run
from tests.served import FAST, SOURCE, TARGET, picture, process, until


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to be had")
def test_told_to_stop_it_finishes_what_it_does_and_refuses_what_comes(model: Path) -> None:
    """Until an inversion of hundreds of calls is done, others are refused; then the exit code is 0."""
    patience = ("--grace", 200, "--deadline", 200)
    with process("--model", model, *patience) as (server, url), Client(url, seconds=200, retries=0) as client:
        assert client.edit(client.invert(picture(), SOURCE, FAST).id, TARGET).nfe == 2
        long: dict[str, str | int] = {"steps": 20, "inverter": "fixed-point", "iterations": "12"}
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(client.invert(picture(), SOURCE, long).status))
        asking.start()
        with httpx.Client(base_url=url, trust_env=False, timeout=200) as http:
            until(lambda: 'what="accepted"} 3.0' in http.get("/metrics").text)
            server.send_signal(signal.SIGTERM)
            until(lambda: "the server stops: ask again in a while" in http.get("/readyz").text)
            refused = http.post("/v1/inversions", data={"prompt": SOURCE}, files={"image": picture()})
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        asking.join()
        assert answers == ["FIXED_BUDGET"]
        out, err = server.communicate(timeout=200)
        assert (server.returncode, out) == (0, "stopped\n")
        assert "Traceback" not in err


def test_what_is_not_done_in_time_is_given_up(model: Path) -> None:
    with process("--model", model, "--grace", "0.1") as (server, url), httpx.Client(base_url=url, timeout=200) as http:
        endless = {"prompt": SOURCE, "steps": "999", "inverter": "fixed-point", "iterations": "999"}
        answers = list[int]()

        def ask() -> None:
            answers.append(http.post("/v1/inversions", data=endless, files={"image": picture()}).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: 'what="calls"' in http.get("/metrics").text)
        server.send_signal(signal.SIGINT)
        asking.join()
        assert answers == [503]
        out, _ = server.communicate(timeout=200)
        assert (server.returncode, out) == (0, "stopped; what was not done in time was given up\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0 lets everyone on the network use the server: give --api-key-file"),
        (("--port", "70000"), "--port 70000 is not accepted: give a whole number from 0 to 65535"),
        (("--deadline", "0"), "--deadline 0 is not accepted: give a number from 0.001 to 3600"),
        (("--api-key-file", "nowhere"), "nowhere: No such file or directory; check the path"),
        (("--api-key-file", "picture.png"), "picture.png is not text: write one key a line"),
        (("--model", "nothing"), "unknown model 'nothing'"),
        (("--host", "192.0.2.1", "--insecure", "--model", "MODEL"), "cannot listen on 192.0.2.1, port 8000"),
    ],
)
def test_what_cannot_be_served(run: Run, model: Path, arguments: tuple[str, ...], complaint: str) -> None:
    code, out, err = run("serve", *(str(model) if argument == "MODEL" else argument for argument in arguments))
    assert (code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


def test_the_load_on_a_server_is_measured(run: Run, model: Path) -> None:
    """Nothing is wrong, and the report says so in words and in JSON."""
    options = ("bench", "serve", "--model", model, "--clients", "2", "--requests", "3", "--pictures", "1")
    code, out, _ = run(*options)
    assert code == 0
    assert "batching makes 2 clients" in out
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [["2", "yes"], ["2", "no"]]
    assert [line.split()[8] for line in out.splitlines()[1:3]] == ["0", "0"]
