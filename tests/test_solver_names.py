"""Solvers by name: their fields, their sources, and what is said of a name that does not fit."""

from __future__ import annotations

from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest
from rnri_core import publications
from rnri_core.solvers import SOLVERS, solver
from rnri_core.solvers.gnri import Gnri

import rnri
from rnri.references import citation


@pytest.mark.parametrize("name", SOLVERS)
def test_every_field_is_described_and_spelled_back(name: str) -> None:
    method = SOLVERS[name]
    options = method.options()
    assert [option.name for option in options] == [field.name for field in fields(method)]  # type: ignore[arg-type]
    assert all(option.about for option in options)
    settings = ",".join(f"{option.name}={option.default}" for option in options)
    assert solver(f"{name}:{settings}") == method() == solver(name)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_names_its_source(name: str) -> None:
    method = SOLVERS[name]
    assert method.__doc__
    assert method.passage
    entries = [source.bibtex() for source in (method.source, *method.further)]
    assert citation(name) == rnri.citation(method()) == "\n\n".join(entries)
    entry = citation(name)
    assert entry.startswith(("@article{", "@inproceedings{"))
    assert f"{{{method.source.key}," in entry
    assert str(method.source.year) in str(method.source)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("newton", "no solver is called 'newton'; there are explicit, fixed-point"),
        ("", "no solver is called ''"),
        ("explicit:eta=1", "solver 'explicit' has no field 'eta'; it has no fields"),
        ("gnri:step=1", "has no field 'step'; its fields are weight, beta"),
        ("gnri:eta", "field 'eta' needs a value, as in gnri:eta=0.1"),
        ("gnri:eta=soft", "eta='soft' is not a float"),
        ("gnri:eta=nan", "eta=nan is outside"),
        ("anderson:memory=1.5", "memory='1.5' is not a int"),
        ("anderson:memory=0", "memory=0 is outside 1 to 50"),
        ("gnri:beta=thin", "beta='thin' is not one of effective, dense"),
        ("gnri:eta=1,eta=2", "'eta' is given twice"),
        ("gnri+", r"no solver is called 'gnri\+'"),
        ("gnri+shine", "no wrapper is called 'shine'; there are best-so-far, polish, anneal"),
        ("polish", r"no solver is called 'polish'; .* follows a solver: gnri\+polish"),
        ("gnri+polish:steps=0", "wrapper 'polish': steps=0 is outside 1 to 1000"),
        ("gnri+polish:inner=1", "wrapper 'polish' has no field 'inner'; its fields are steps"),
        ("anderson+anneal", "anneal needs a solver with a weight λ, such as gnri, and Anderson"),
        ("gnri+polish+anneal", "anneal needs a solver with a weight λ"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused_with_what_does(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver(spec)


def test_fields_are_checked_however_a_solver_is_made() -> None:
    with pytest.raises(ValueError, match=r"eta=True is not a float"):
        Gnri(eta=True)
    with pytest.raises(ValueError, match=r"eta=0.0 is outside"):
        Gnri(eta=0.0)


def test_every_publication_is_cited_and_printed_as_it_is_stored() -> None:
    root = Path(__file__).parents[1]
    code = "\n".join(path.read_text() for folder in ("src", "core/src") for path in (root / folder).rglob("*.py"))
    stored = files("rnri_core").joinpath("publications.bib").read_text(encoding="utf-8")
    assert publications.entries()
    for name, source in publications.entries().items():
        assert f"publications.{name}" in code, f"{name} is not cited"
        assert source.bibtex() in stored
    with pytest.raises(AttributeError, match=r"publications.bib has no entry 'NOBODY'"):
        _ = publications.NOBODY
