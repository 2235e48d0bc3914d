"""Who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rnri

ROOT = Path(rnri.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LIMIT = 400

# Rooms of the package that each room may import, besides itself. A room that is not named here is anyone's guest:
# nothing but another such room, or itself, may import it.
ARROWS: dict[str, set[str]] = {
    "threads": set(),
    "equation": {"threads"},
    "schedule": {"equation"},
    "driver": {"equation"},
    "registry": set(),
    "solvers": {"equation", "driver", "registry"},
    "inversion": {"equation", "schedule", "driver"},
    "budget": {"equation", "schedule", "driver"},
    "edit_friendly": {"equation", "schedule", "driver", "inversion"},
    "coupled": {"equation", "registry", "schedule", "solvers"},
    "presets": {"budget", "driver", "edit_friendly", "inversion", "schedule", "solvers"},
    "references": {"methods", "presets", "registry", "solvers"},
    "guidance": {"schedule"},
    "images": {"raster"},
    "raster": {"threads"},
    "attention": set(),
    "controls": {"attention", "images", "inversion", "models", "registry"},
    "loading": set(),
    "models": {"attention", "guidance", "limits", "loading", "schedule", "threads"},
    "editing": {"controls", "guidance", "inversion", "models", "schedule"},
    "editor": {
        "loading",
        "driver",
        "presets",
        "inversion",
        "controls",
        "editing",
        "models",
        "images",
        "schedule",
        "limits",
        "threads",
        "timings",
    },
    "limits": set(),
    "timings": set(),
    "previews": {"editing", "images", "inversion", "models", "schedule"},
    "batches": {"editor", "images", "inversion", "limits", "presets", "threads"},
    "methods": {
        "attention",
        "controls",
        "edit_friendly",
        "editor",
        "fidelity",
        "images",
        "inversion",
        "models",
        "registry",
        "schedule",
        "solvers",
        "coupled",
        "presets",
    },
    "paths": set(),
    "blending": {"controls", "editor", "images", "inversion", "limits", "paths"},
    "describe": {"images", "models", "scenes"},
    "metrics": {"scenes", "threads"},
    "fidelity": {"driver", "inversion", "editor", "images", "metrics"},
    "scenes": {"threads"},
}

# Third parties that only some rooms may import.
KEPT: dict[str, set[str]] = {
    "diffusers": {"models"},
    "transformers": {"models", "metrics"},
    "PIL": {"images", "raster"},
    "gradio": {"web"},
    "playwright": {"bench"},
    "fastapi": {"web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "pydantic": {"web"},
    "prometheus_client": {"web"},
    "httpx": {"web"},
    "typer": {"cli"},
    "rich": {"cli", "bench"},
}
PURE = {
    "threads",
    "loading",
    "equation",
    "schedule",
    "driver",
    "registry",
    "solvers",
    "budget",
    "inversion",
    "edit_friendly",
    "coupled",
    "presets",
    "guidance",
    "controls",
}
"""Rooms that know no third party but torch and safetensors."""


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


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


def rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports."""
    parts = [name.split(".") for name in imported(path) if name.startswith("rnri.")]
    return {name[1] for name in parts if (ROOT / name[1]).is_dir() or (ROOT / f"{name[1]}.py").is_file()}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=label)
def test_arrows(path: Path) -> None:
    here = room(path)
    if here in ARROWS:
        assert rooms(path) - {here} <= ARROWS[here]
    elif here == "__init__":
        assert not rooms(path)


@pytest.mark.parametrize("path", FILES, ids=label)
def test_third_parties_stay_in_their_rooms(path: Path) -> None:
    here, parties = room(path), {name.split(".")[0] for name in imported(path)}
    for party, homes in KEPT.items():
        assert party not in parties or here in homes, f"{party} belongs in {', '.join(sorted(homes))}"
    if here in PURE:
        assert not parties & {"numpy", "scipy", "skimage", "matplotlib"}


def test_models_know_no_solver() -> None:
    """A family says what a network is and how it is sampled, never how that is inverted."""
    for path in FILES:
        if room(path) == "models":
            assert not rooms(path) & {"driver", "solvers", "inversion", "editor"}


@pytest.mark.parametrize("path", FILES, ids=label)
def test_files_are_short_and_named_for_what_they_hold(path: Path) -> None:
    assert len(path.read_text().splitlines()) < LIMIT
    assert path.stem not in ("utils", "helpers", "misc", "common")


def test_every_solver_file_is_one_solver() -> None:
    """A file in `solvers` that defines a registered solver defines one only."""
    from rnri_core.solvers import SOLVERS

    homes = [method.__module__ for method in SOLVERS.values()]
    assert len(set(homes)) == len(homes)
