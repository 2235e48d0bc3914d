"""The pages say nothing that is not there: links lead somewhere, every solver is listed, examples run as written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rnri import SOLVERS
from rnri.models import embedded

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
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


def test_every_solver_is_in_the_readme_once() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGES[0].read_text(), re.MULTILINE) == list(SOLVERS)


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
