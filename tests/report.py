"""What a run of the tests reports: seconds by area, and in one line what did not run.

A plugin of pytest that `conftest.py` registers. With xdist it counts on the controller, which hears of every test.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from datetime import date
from typing import Any

import pytest

from tests.tiers import TIER, Figures, area, replace_between, table, wanted

FIGURES, BEGAN = Figures(), time.monotonic()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to a larger tier. Workers of xdist collect all alike and send the controller the count."""
    kept = [item for item in items if wanted(item.nodeid, [mark.name for mark in item.iter_markers()])]
    FIGURES.left_out = len(items) - len(kept)
    if hasattr(config, "workeroutput"):
        config.workeroutput |= {"left_out": FIGURES.left_out, "files": dict(FIGURES.files)}
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """On the controller, what a worker counted while it collected."""
    output = getattr(node, "workeroutput", {})
    FIGURES.left_out = max(FIGURES.left_out, output.get("left_out", 0))
    FIGURES.files |= output.get("files", {})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """On the controller of xdist for all of its workers, without xdist in the only process."""
    name = area(report.nodeid.partition("::")[0])
    FIGURES.seconds[name] += report.duration
    FIGURES.tests[name] += report.when == "setup"
    if report.skipped and isinstance(report.longrepr, tuple):
        FIGURES.skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Files that are skipped whole."""
    if report.skipped and isinstance(report.longrepr, tuple):
        FIGURES.files[report.longrepr[2].removeprefix("Skipped: ")] += 1


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Seconds of each area, and in one line what did not run."""
    if hasattr(config, "workerinput"):
        return
    rows = FIGURES.rows()
    terminalreporter.section("seconds by area, of all processes")
    terminalreporter.line(", ".join(f"{name} {seconds:.0f} s ({count})" for name, count, seconds in rows))
    terminalreporter.line(FIGURES.line())
    page = config.getoption("--figures")
    if page is not None:
        outcome = {name: len(terminalreporter.stats.get(name, [])) for name in ("passed", "failed", "error", "skipped")}
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        wall = time.monotonic() - BEGAN
        asked = shlex.join([f"RNRI_TIER={TIER}", "pytest", *map(str, config.invocation_params.args)])
        text = table(FIGURES, outcome, date=f"{date.today()}", commit=commit, selection=asked, wall=wall)
        option = config.option
        if option.file_or_dir or option.keyword or option.markexpr or TIER != "soak":
            text += "\n\nThis is the part of `make soak` that the command selects; all other tests of it did not run."
        replace_between(page, "<!-- soak:begin -->", "<!-- soak:end -->", text)
