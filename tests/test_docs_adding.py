"""The pages on adding a schedule and a model family: the file, the line and the programs run as they are written."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rnri_core.inversion.inversion import Inversion

from rnri.models import MODELS, serving
from rnri.models.loading import SCHEDULERS
from rnri.models.schedulers import imported
from tests import tiny_families

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def entered(page: str, registry: MutableMapping[str, Any]) -> Iterator[str]:
    """The file as the module that the line names, and the line in its table."""
    [line] = blocks(page, "text")
    [(name, entry)] = ast.literal_eval(f"{{{line}}}").items()
    module = ModuleType((entry if isinstance(entry, str) else entry[1]).partition(":")[0])
    sys.modules[module.__name__] = module
    exec(compile(blocks(page, "py")[0], page, "exec"), vars(module))
    registry[name] = entry
    yield name
    del registry[name], sys.modules[module.__name__]


@pytest.fixture
def schedule() -> Iterator[str]:
    yield from entered("adding-a-schedule.md", SCHEDULERS)


@pytest.fixture
def family() -> Iterator[str]:
    yield from entered("adding-a-family.md", MODELS)


def run(page: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks after the file, as one program, with these names; those that it leaves."""
    namespace = dict(names)
    for program in blocks(page, "py")[1:]:
        exec(compile(program, page, "exec"), namespace)
    return namespace


def test_the_page_on_schedules_is_a_complete_path(schedule: str) -> None:
    assert imported(SCHEDULERS[schedule][1]).__name__ == "ddpm_table"
    assert isinstance(run("adding-a-schedule.md", {})["inversion"], Inversion)


def test_the_page_on_families_is_a_complete_path(family: str) -> None:
    """Its tiny pipeline is a function of `tests.tiny_families`, whose names it has."""
    assert serving(family).__name__ == "Chroma"
    assert isinstance(run("adding-a-family.md", vars(tiny_families))["inversion"], Inversion)
