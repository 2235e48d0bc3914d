"""What all tests share: tiers and the report of a run, a small model in a folder, commands beside a picture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, help="a page in which the figures of this run replace those of the last")


def pytest_configure(config: pytest.Config) -> None:
    """Hooks of this file see tests below it; what is registered sees the examples in `src` and `docs` too."""
    config.pluginmanager.register(report, "tests.report")


SOURCE, TARGET = "a red ball on sand", "a blue ball on sand"
Run = Callable[..., tuple[int, str, str]]
"""Runs a command with these arguments, in this process, and gives its exit code, stdout and stderr."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of random weights."""
    from tests import tiny

    folder = tiny.save(tiny.pipeline(), tmp_path_factory.mktemp("tiny"))
    (folder / "rnri.json").write_text('{"steps": 4, "guidance": 1.0}')
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """In a folder with one picture in it, `picture.png`."""
    from rnri.cli import main

    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("picture.png")
    capsys.readouterr()

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of benchmarks without figures, as where matplotlib is missing."""
    for package in ("edits", "solvers"):
        monkeypatch.setitem(sys.modules, f"rnri.evaluation.{package}.figures", None)


@pytest.fixture
def edit(run: Run, model: Path) -> Run:
    """`rnri edit` of that picture."""
    return lambda *more: run("edit", "picture.png", "--source", SOURCE, "--target", TARGET, "--model", model, *more)
