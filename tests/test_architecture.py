"""Who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rnri_core

import rnri

ROOT = Path(__file__).parent.parent
PACKAGES = (Path(rnri.__file__).parent, Path(rnri_core.__file__).parent)
FILES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
LIMIT = 400

KEPT: dict[str, set[str]] = {
    "diffusers": {"rnri.models"},
    "transformers": {"rnri.models", "rnri.metrics"},
    "PIL": {"rnri.images", "rnri.raster"},
    "gradio": {"rnri.web"},
    "playwright": {"rnri.evaluation"},
    "fastapi": {"rnri.web"},
    "starlette": {"rnri.web"},
    "uvicorn": {"rnri.web"},
    "pydantic": {"rnri.web"},
    "prometheus_client": {"rnri.web"},
    "prometheus_fastapi_instrumentator": {"rnri.web"},
    "cachetools": {"rnri.web"},
    "httpx": {"rnri.web"},
    "typer": {"rnri.cli"},
    "rich": {"rnri.cli", "rnri.evaluation"},
}
"""Third parties that only some rooms may import."""
NUMERIC = {"numpy", "scipy", "skimage", "matplotlib"}
PURE = {"rnri.controls", "rnri.editing.edit", "rnri.editing.config"}
"""Besides the core, what needs no third party but torch and safetensors."""


def dotted(path: Path) -> str:
    """The name of a file's module."""
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports when it runs; those for the type checker alone are left out."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        waiting += ast.iter_child_nodes(node)
    return names


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages that are tested, by the contracts of a file."""
    places = os.pathsep.join(str(package.parent) for package in PACKAGES)
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--config", str(config), "--no-cache"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, check=False
    )


def test_layers_import_downwards(tmp_path: Path) -> None:
    done = lint(tmp_path, ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout
    assert "Contracts: 3 kept, 0 broken" in done.stdout


def test_an_import_upwards_is_found(tmp_path: Path) -> None:
    whole = (ROOT / "pyproject.toml").read_text()
    first, second = '    "rnri.editing",\n', '    "rnri.controls",\n'
    assert first + second in whole
    (tmp_path / "pyproject.toml").write_text(whole.replace(first + second, second + first))
    done = lint(tmp_path, tmp_path / "pyproject.toml")
    assert (done.returncode, "1 broken" in done.stdout) == (1, True), done.stdout + done.stderr


def test_the_core_is_imported_without_the_rest() -> None:
    for path in FILES:
        if dotted(path).startswith("rnri_core"):
            assert not {name for name in imported(path) if name.split(".")[0] == "rnri"}, path.name


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_third_parties_stay_in_their_rooms(path: Path) -> None:
    here, parties = dotted(path), {name.split(".")[0] for name in imported(path)}
    room = ".".join(here.split(".")[:2])
    for party, homes in KEPT.items():
        assert party not in parties or room in homes, f"{party} belongs in {', '.join(sorted(homes))}"
    if room.startswith("rnri_core") or room in PURE or here in PURE:
        assert not parties & NUMERIC


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_files_are_short_and_named_for_what_they_hold(path: Path) -> None:
    assert len(path.read_text().splitlines()) < LIMIT
    assert path.stem not in ("utils", "helpers", "misc", "common")


def test_every_solver_file_is_one_solver() -> None:
    """A file in `solvers` that defines a registered solver defines one only."""
    from rnri_core.solvers import SOLVERS

    homes = [method.__module__ for method in SOLVERS.values()]
    assert len(set(homes)) == len(homes)


def test_no_public_class_name_is_defined_twice() -> None:
    """In both distributions together; every solver has a private ``State``."""
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.name != "State":
                homes.setdefault(node.name, []).append(f"{dotted(path)}:{node.lineno}")
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
