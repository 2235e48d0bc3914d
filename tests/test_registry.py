"""Specs: written and read back, in linear time, and what a request may not set in one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rnri_core.inversion.presets import check
from rnri_core.registry import Registered, apart, make, spell
from rnri_core.solvers import MAX_WRAPPERS, SOLVERS, WRAPPERS, solver

from rnri.controls import CONTROLS, control, controls
from rnri.controls.negative import Negative

OUTSIDE: dict[str, type[Registered]] = {**SOLVERS, **WRAPPERS, **CONTROLS}
"""All that a request may name."""


@given(st.text())
def test_any_text_is_read_back_from_its_spec(text: str) -> None:
    spec = spell("negative", {"prompt": text})
    assert control(spec) == Negative(prompt=text)
    assert controls(f"{spec}; depth") == (Negative(prompt=text), CONTROLS["depth"]())


@pytest.mark.parametrize("name", CONTROLS)
def test_every_plain_field_is_read_back_from_its_spec(name: str) -> None:
    values = {each.name: each.example for each in CONTROLS[name].options() if each.plain}
    assert control(spell(name, values), plain=True) == CONTROLS[name](**values)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" a , ,b", ["a", "b"]),
        ("a='1,2',b=\"3,'4\"", ["a='1,2'", 'b="3,\'4"']),
        ("a='it''s, so',b=don't,c=won't", ["a='it''s, so'", "b=don't", "c=won't"]),
        ("a=b='1,2',c", ["a=b='1,2'", "c"]),
    ],
)
def test_parts_are_apart_outside_quotes(text: str, parts: list[str]) -> None:
    assert apart(text, ",") == parts


def test_a_quote_that_is_not_closed_is_named() -> None:
    with pytest.raises(ValueError, match="a quote ' is not closed in"):
        control("negative:prompt='fog, rain")


def seconds(work: Callable[[], object]) -> float:
    """Of processor time, the least of a few."""
    spent = []
    for _ in range(5):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return min(spent)


@pytest.mark.parametrize("unit", [",", "'a'", "x=',',", "=", " ", '"'])
def test_specs_are_split_in_linear_time(unit: str) -> None:
    few, many = (unit * count for count in (5_000, 20_000))
    assert seconds(lambda: apart(many, ",")) < 10 * seconds(lambda: apart(few, ","))  # 16 if it were quadratic


def test_errors_do_not_repeat_what_was_sent() -> None:
    long = "x" * 9999
    for spec in (long, f"anderson:memory={long}", f"anderson:{long}=1", f"anderson:memory={'9' * 999}"):
        with pytest.raises(ValueError, match=r"…") as refused:
            solver(spec)
        assert len(str(refused.value)) < 1000


def test_a_solver_has_few_wrappers() -> None:
    assert solver("explicit" + "+best-so-far" * MAX_WRAPPERS)
    with pytest.raises(ValueError, match=f"9999 wrappers are around 'explicit': give at most {MAX_WRAPPERS}"):
        solver("explicit" + "+best-so-far" * 9999)


@pytest.mark.parametrize("name", OUTSIDE)
def test_whole_numbers_of_requests_have_bounds(name: str) -> None:
    """A number of rounds that ends no day would hold the engine's thread between two network calls."""
    for each in OUTSIDE[name].options():
        if each.kind is int:
            assert -math.inf < each.low <= each.high < math.inf, each.name


def test_a_request_sets_no_field_that_takes_a_file() -> None:
    refused = {(name, each.name) for name, kind in OUTSIDE.items() for each in kind.options() if not each.plain}
    assert refused == {("keep", "mask")}
    for name, field in refused:
        spec = spell(name, {field: "/etc/hostname"})
        assert control(spec) == CONTROLS[name](**{field: "/etc/hostname"})  # on the command line and in Python
        with pytest.raises(ValueError, match=rf"{name!r}: {field} is a file, and a request may not name one"):
            control(spec, plain=True)
    for registry in (SOLVERS, WRAPPERS):
        with pytest.raises(ValueError, match="no solver is called 'keep"):
            make(registry, "keep", "solver", plain=True)
    with pytest.raises(ValueError, match="no solver is called 'keep"):
        check("keep:mask=/etc/hostname", plain=True)
