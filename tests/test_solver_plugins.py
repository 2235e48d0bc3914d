"""Solvers of other distributions, by the page that shows how to write one."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rnri_core.errors import RnriError
from rnri_core.inversion.presets import spec
from rnri_core.registry import plugins
from rnri_core.solvers import SOLVERS, Method, solver

PAGE = (Path(__file__).parents[1] / "docs" / "adding-a-solver.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, whose distribution has the entry points of the page and one that cannot be imported."""
    [project] = blocks("toml")
    points = tomllib.loads(project)["project"]["entry-points"]["rnri.solvers"] | {"broken": "nowhere:Broken"}
    metadata = tmp_path / "damped-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: damped\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[rnri.solvers]", *lines, ""]))
    (tmp_path / "damped.py").write_text(blocks("py")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.cache_clear()
    yield tmp_path
    SOLVERS.pop("damped")
    sys.modules.pop("damped", None)
    plugins.cache_clear()


@pytest.mark.usefixtures("package")
def test_the_page_is_a_complete_path() -> None:
    """The file and the line as written; the programs of the page run with them."""
    file, *programs = blocks("py")
    assert "class Damped(Method)" in file
    assert programs
    for program in programs:
        exec(compile(program, "docs/adding-a-solver.md", "exec"), {})


@pytest.mark.usefixtures("package")
def test_a_plugin_is_listed_without_its_import_and_named_by_its_spec() -> None:
    assert "damped" in list(SOLVERS)
    assert "damped" not in sys.modules
    made = solver("damped:omega=0.5+best-so-far")
    assert isinstance(made, Method)
    assert spec(made) == "damped:omega=0.5+best-so-far"


@pytest.mark.usefixtures("package")
def test_a_plugin_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(RnriError, match=r"the plugin 'broken' \(nowhere:Broken\) cannot be imported"):
        solver("broken")
