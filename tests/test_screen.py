"""How progress is shown: a bar on a terminal, a line for each percent elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rnri.cli import screen


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, total: int) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(screen, "_err", Console(file=stream, force_terminal=terminal, width=80))
    with screen.bar("edit") as tell:
        for done in range(1, total + 1):
            tell(done, total)
    return stream.getvalue()


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True, total=5)
    assert "edit" in text
    assert "5/5" in text
    assert "━" in text


def test_elsewhere_there_is_a_line_for_each_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, terminal=False, total=400).splitlines()
    assert lines[0] == "edit 1 of 400 …"
    assert lines[-1] == "edit 400 of 400 …"
    assert len(lines) == 101
