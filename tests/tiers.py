"""Which tests run when, how large they are, and what a run reports: the one place that decides it.

`RNRI_TIER` is one of `check` (minutes), `test` (the default: every kind of check once, small) and `soak` (hours: full
grids, many examples). Modules ask :func:`sized` for grids and numbers; Hypothesis takes its examples from the profile.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

TIERS = ("check", "test", "soak")
TIER = os.environ.get("RNRI_TIER", "test")
if TIER not in TIERS:
    raise ValueError(f"RNRI_TIER={TIER!r} is not a tier: use one of {', '.join(TIERS)}")

AREAS: dict[str, tuple[str, ...]] = {
    "solvers": ("test_solve*", "test_quasi*", "test_renoise*", "test_budget*", "test_presets*", "test_spectrum*"),
    "inversion": ("test_inversion*", "test_schedule*", "test_edit_friendly*", "test_coupled*", "test_guidance*"),
    "models": ("test_models*", "test_famil*", "test_from_pipe*", "test_loading*", "test_hub*", "test_lora*"),
    "networks": ("test_autoencoders*", "test_offload*", "test_tokenizer*", "test_embedded*", "test_previews*"),
    "editing": ("test_editor*", "test_batches*", "test_blending*", "test_auto*", "test_images*"),
    "threads": ("test_threads*",),
    "controls": ("test_controls*", "test_automatic_mask*", "test_core_controls*", "test_composite*"),
    "methods": ("test_methods*", "test_references*"),
    "scenes": ("test_scenes*", "test_reader*"),
    "bench": ("test_bench*", "test_datasets*", "test_metric*", "test_s[pt][ae][et]*", "test_sensitivity*"),
    "cli": ("test_cli*", "test_screen*"),
    "web": ("test_web*",),
    "page": ("test_page*",),
    "structure": ("test_architecture*", "test_import*", "tiers*"),
    "docs": ("test_docs*", "*.md"),
    "docstrings": ("src/*",),
    "training": ("test_training*",),
}
"""Area of a test by its file's name, the first that fits; `src/*` are the examples in docstrings."""

SLOW = (
    r"(src|docs)/",
    r"tests/test_(auto|bench|bench_\w+|blending|datasets|docs|docs_adding|editor|famil\w+|from_pipe|hub|loading)\.py",
    r"tests/test_(automatic_mask|cli|cli_\w+|composite|controls|embedded|lora|methods|metric_networks|offload)\.py",
    r"tests/test_(page|page_\w+|previews|reader|scenes)\.py",
    r"tests/test_(screen|sensitivity|speed|threads|training|web_\w+)\.py",
)
"""What `make check` leaves out: regular expressions that a test's name starts with."""

_ALIKE = r"\[(sdxl|lcm|sd3-without-t5|flux-schnell|flux2-klein|pixart-sigma|sana|lumina2|aura-flow)\b"
"""Families that share their kind with another one in grids beyond `test_families`, which has all of them."""

SOAK = (
    rf"tests/test_family_(edits|solvers)\.py.*{_ALIKE}",
    rf"tests/test_family_variants\.py::test_an_edit_may_take_other_steps.*{_ALIKE}",
    rf"tests/test_threads\.py::test_pictures_are_those_of_one_thread{_ALIKE}",
    r"tests/test_threads\.py::.*\[compiled\]",
    r"tests/test_families\.py::test_what_is_inverted_is_sampled_again\[.*False",
    r"tests/test_sensitivity\.py::test_statuses_are_true_on_many_steps_too",
    r"tests/test_sensitivity\.py::test_nothing_blows_up.*gnri",
    r"tests/test_auto\.py.*\[scenes-20",
    r"tests/test_loading\.py::test_repeated_blocks_are_compiled.*\[sd3\]",
    r"tests/test_from_pipe\.py::test_spaced_steps.*\[sdxl",
    r"tests/test_cli_bad_input\.py::test_an_interrupt_leaves_no_half_file",
)
"""What only `make soak` runs, likewise: the rest of grids of which `make test` has every kind once, and kills."""


def sized(*, check: T, test: T, soak: T) -> T:
    """What the tier asks for: a number of examples, a grid, a number of rounds."""
    return {"check": check, "test": test, "soak": soak}[TIER]


for name, examples in (("check", 10), ("test", 50), ("soak", 2000)):
    quiet = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
    settings.register_profile(name, max_examples=examples, deadline=None, database=None, suppress_health_check=quiet)
settings.load_profile(TIER)


def area(path: str) -> str:
    """The area of a test's file, by its path from the root of the project.

    >>> area("tests/test_solvers.py"), area("src/rnri/images.py"), area("docs/models.md")
    ('solvers', 'docstrings', 'docs')
    """
    file = path.rpartition("/")[2]
    fits = (name for name, globs in AREAS.items() for glob in globs if fnmatchcase(path if "/" in glob else file, glob))
    return next(fits, "others")


def wanted(name: str, marks: Sequence[str], tier: str = TIER) -> bool:
    """Whether a test of this name with these markers runs in a tier.

    >>> [tier for tier in TIERS if wanted("tests/test_family_solvers.py::test_it[sana]", [], tier)]
    ['soak']
    """
    soak = "soak" in marks or any(re.match(pattern, name) for pattern in SOAK)
    slow = soak or "slow" in marks or any(re.match(pattern, name) for pattern in SLOW)
    return {"check": not slow, "test": not soak, "soak": True}[tier]


@dataclass
class Figures:
    """Tests and seconds of each area, and why tests were skipped, summed while a run goes on."""

    tests: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    skipped: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    files: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    left_out: int = 0

    def rows(self) -> list[tuple[str, int, float]]:
        """(area, tests, seconds), the longest first."""
        return sorted(((name, self.tests[name], each) for name, each in self.seconds.items()), key=lambda row: -row[2])

    def line(self) -> str:
        """What did not run and how to run it, in one line."""
        parts = [f"{count} skipped ({reason})" for reason, count in sorted(self.skipped.items())]
        parts += [f"{count} whole files skipped ({reason})" for reason, count in sorted(self.files.items())]
        if self.left_out:
            parts.append(f"{self.left_out} of larger tiers left out: run them with 'make soak'")
        return f"not run: {'; '.join(parts)}" if parts else "not run: nothing, no test was skipped or left out"


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two lines of a page instead of what stands there."""
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page} has no lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def table(figures: Figures, outcome: Mapping[str, int], *, date: str, commit: str, selection: str, wall: float) -> str:
    """The figures of a run as a page of documentation states them."""
    counts = ", ".join(f"{count} {name}" for name, count in outcome.items() if count)
    lines = [f"Run on {date} at commit `{commit}` with `{selection}`: {counts}, in {wall:.0f} seconds.", ""]
    lines += ["| area | tests | seconds, of all processes |", "|---|---|---|"]
    lines += [f"| {name} | {count} | {seconds:.0f} |" for name, count, seconds in figures.rows()]
    return "\n".join([*lines, "", f"{figures.line().capitalize()}."])
