"""The pages say nothing that is not there: links lead somewhere, every solver is listed, examples run as written."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rnri_core.inversion.config import InversionConfig
from rnri_core.registry import RENAMED
from rnri_core.solvers import SOLVERS
from typer.main import get_command

from rnri.baselines import METHODS
from rnri.cli.app import app
from rnri.controls import CONTROLS
from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.metrics import METRICS
from rnri.models import FAMILY_HEADS, MODELS, embedded, family_rows, serving
from rnri.models.loading import Loading
from rnri.moved import MOVED, NAMES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "core" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
PENDING: set[str] = set()
"""Figures that need the trained models."""


def label(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them in links."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in link or path in PENDING:
            continue
        target = page.parent / path if path else page
        assert target.exists(), f"{label(page)} points at {link}"
        assert not anchor or anchor in anchors(target), f"{label(page)} points at {link}"


@pytest.mark.parametrize("page", [ROOT / "docs" / "choosing-a-solver.md", PAGES[0]], ids=label)
def test_tables_list_solvers_once_in_the_order_of_the_code(page: Path) -> None:
    """Not all of them: a new solver has no figures yet, and is in ``rnri solvers`` at once."""
    rows = re.findall(r"^\| `([\w-]+)` \|", page.read_text(), re.MULTILINE)
    assert rows
    assert rows == [name for name in SOLVERS if name in rows]


@pytest.mark.parametrize(("page", "registry"), [("controls.md", CONTROLS), ("methods.md", METHODS)])
def test_every_control_and_method_is_in_its_page_once(page: str, registry: dict[str, type]) -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    assert rows == list(registry)


def test_the_table_of_families_is_that_of_the_code() -> None:
    rows = ["| " + " | ".join(row) + " |" for row in (FAMILY_HEADS, ["---"] * len(FAMILY_HEADS), *family_rows())]
    assert "\n".join(rows) in PAGES[0].read_text(), (
        "run 'python docs/make_catalog.py', then paste the output of 'rnri models --families --markdown' into README.md"
    )


def test_every_family_has_a_page_with_its_recipe_and_the_table_links_it() -> None:
    homes: dict[str, list[str]] = {}
    for pipeline, served in MODELS.items():
        homes.setdefault(served.__module__.rpartition(".")[2].replace("_", "-"), []).append(pipeline)
    table = (ROOT / "docs" / "models.md").read_text()
    rows = re.findall(r"^\| \[[^\]]+\]\(families/([\w-]+)\.md\)[^|]* \| ([^|]+) \|", table, re.MULTILINE)
    assert {name: pipelines.split(", ") for name, pipelines in rows} == homes, "add the row to the table in models.md"
    assert {page.stem for page in (ROOT / "docs" / "families").iterdir()} == set(homes)


@pytest.mark.parametrize("pipeline", MODELS)
def test_a_family_page_names_its_pipeline_its_checkpoints_and_how_to_load_them(pipeline: str) -> None:
    kind = serving(pipeline)
    name = kind.__module__.rpartition(".")[2].replace("_", "-")
    path = ROOT / "docs" / "families" / f"{name}.md"
    assert path.exists(), f"write docs/families/{name}.md, as the list at the end of docs/adding-a-family.md has it"
    page = path.read_text()
    for said in (f"`{pipeline}`", *kind.examples, *kind.samplers, "rnri edit ", "Editor.from_pretrained("):
        assert said in page, f"families/{name}.md does not say {said}"


def test_every_metric_is_defined_once() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text().partition("## Metrics")[2].partition("## Reading")[0]
    cells = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \|", page, re.MULTILINE)
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(cells))) == sorted(METRICS)


def recipes(page: Path) -> Iterator[list[str]]:
    """Commands of the shell blocks of a page that call rnri, split as a shell splits them."""
    for block in re.findall(r"^ *```(?:ba)?sh\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for words in (shlex.split(each, comments=True) for each in re.split(r" && |; ", line)):
                if words[:1] == ["rnri"]:
                    yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_recipes_name_options_that_there_are(page: Path) -> None:
    for words in recipes(page):
        command: Any = get_command(app)
        rest = list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{label(page)} gives rnri {words[0]} {', '.join(sorted(given - known))}"


def test_the_page_of_layers_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    made = runpy.run_path(str(ROOT / "docs" / "make_architecture.py"))
    assert made["written"](page) == page, "run 'python docs/make_architecture.py'"


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_a_page_begins_in_the_fields_terms(page: Path) -> None:
    """The paragraph under the title; one that is a command has none to check."""
    first = page.read_text().split("\n\n")[1]
    figurative = re.findall(r"\b(?:knows?|says?|tells?|told|lets? go|drawn from)\b", first)
    assert not figurative, f"{label(page)} begins with {', '.join(figurative)}: see docs/glossary.md"


def test_every_old_name_that_still_works_is_in_the_changelog() -> None:
    rows = dict(re.findall(r"^\| `([\w.-]+)` \| `([\w.-]+)`", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE))
    expected = MOVED | RENAMED | {f"rnri.{name}": f"{home}.{name}" for name, home in NAMES.items()}
    assert {name: rows.get(name) for name in expected} == expected


def taken(call: Callable[..., Any], config: Any = None) -> set[str]:
    """The arguments of a call, and the fields of the config that it takes by name as options."""
    names = set(inspect.signature(call).parameters) - {"options"}
    return names | {each.name for each in fields(config)} if config else names


TAKEN = {
    "Loading": taken(Loading),
    "from_pretrained": taken(Editor.from_pretrained),
    "from_pipe": taken(Editor.from_pipe),
    "invert": taken(Editor.invert, InversionConfig),
    "edit": taken(Editor.edit, EditConfig),
}


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "families"], ids=label)
def test_recipes_in_python_name_arguments_that_there_are(page: Path) -> None:
    """They need weights, so they are read, not run."""
    for block in re.findall(r"^```py\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for call in ast.walk(ast.parse(block)):
            if isinstance(call, ast.Call) and (name := ast.unparse(call.func).rpartition(".")[2]) in TAKEN:
                given = {each.arg for each in call.keywords}
                assert given <= TAKEN[name], f"{label(page)}: {ast.unparse(call)}"


def programs() -> list[object]:
    """Python blocks without prompts: those that need the trained models."""
    found: list[object] = []
    for page in PAGES:
        blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        plain = [block for block in blocks if ">>>" not in block]
        found += [pytest.param(block, id=f"{label(page)}-{n}") for n, block in enumerate(plain)]
    return found


@pytest.mark.parametrize("program", programs())
def test_programs_run_as_written(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (embedded("scenes-turbo") / "model_index.json").exists():
        pytest.skip("the embedded models are not in this copy")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "<docs>", "exec"), {"__name__": "__main__"})
    assert (tmp_path / "blue.png").is_file()
