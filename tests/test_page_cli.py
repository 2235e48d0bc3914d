"""`rnri ui` and `rnri bench ui`, where they do not get as far as a page."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from tests.conftest import Run


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["ui", "--host", "0.0.0.0"], "lets everyone on the network use the page: give --insecure"),
        (["ui", "--port", "99999"], "--port 99999 is not accepted: give a whole number from 0 to 65535"),
        (["ui", "--memory", "none"], "--memory none is not accepted: give a whole number from 1"),
        (["ui", "--model", "nothing"], "unknown model 'nothing'"),
        (["bench", "ui", "--edits", "0"], "--edits 0 is not accepted"),
    ],
)
def test_bad_input_is_one_line(run: Run, arguments: list[str], cure: str) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra ui: pip install 'rnri[ui]'")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert cure in err
    assert err.splitlines()[-1].startswith("rnri: ")


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra ui: pip install 'rnri[ui]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = run("ui", "--port", taken.getsockname()[1], "--device", "cpu")
    assert code == 2
    assert "choose another --port" in err


@pytest.mark.parametrize("command", [["ui"], ["bench", "ui"]])
def test_without_the_extra_it_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr("rnri.cli.serve.find_spec", lambda name: None if name == "gradio" else there(name))
    code, _, err = run(*command)
    assert code == 2
    assert "pip install 'rnri[ui]'" in err
