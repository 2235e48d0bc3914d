"""Specs: written and read back, in linear time, and what a request may not set in one."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rnri_core.inversion.presets import check
from rnri_core.registry import RENAMED, Registered, Registry, apart, make, plugins, spell
from rnri_core.solvers import MAX_WRAPPERS, SOLVERS, WRAPPERS, solver

from rnri.baselines import method
from rnri.controls import CONTROLS, control, controls
from rnri.controls.negative import Negative

OUTSIDE: dict[str, type[Registered]] = {**SOLVERS, **WRAPPERS, **CONTROLS}
"""All that a request may name."""


@given(st.text())
def test_any_text_is_read_back_from_its_spec(text: str) -> None:
    spec = spell("negative", {"prompt": text})
    assert control(spec) == Negative(prompt=text)
    assert controls(f"{spec}; start-step") == (Negative(prompt=text), CONTROLS["start-step"]())


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
    assert refused == {("mask", "mask")}
    for name, field in refused:
        spec = spell(name, {field: "/etc/hostname"})
        assert control(spec) == CONTROLS[name](**{field: "/etc/hostname"})  # on the command line and in Python
        with pytest.raises(ValueError, match=rf"{name!r}: {field} is a file, and a request may not name one"):
            control(spec, plain=True)
    for registry in (SOLVERS, WRAPPERS):
        with pytest.raises(ValueError, match="no solver is called 'mask"):
            make(registry, "mask", "solver", plain=True)
    with pytest.raises(ValueError, match="no solver is called 'mask"):
        check("mask:mask=/etc/hostname", plain=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hold:grow=2,soft=1,fade=0", "automatic-mask:dilate=2,blur=1,attenuation=0"),
        ("keep:mask=a.png,soft=1", "mask:mask=a.png,blur=1"),
        ("keep-difference:looks=2,grow=0,soft=0", "diffedit-mask:maps=2,dilate=0,blur=0"),
        ("keep-words:grow=0,soft=1", "local-blend:dilate=0,blur=1"),
        ("depth:strength=0.5", "start-step:strength=0.5"),
    ],
)
def test_controls_have_their_old_names_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match="the old name goes in 0.3") as warned:
        assert control(old) == control(new)
    assert len(warned) == 1 + len(set(re.findall("grow|soft|looks|fade", old)))
    assert f"{old.partition(':')[0]!r} is now {new.partition(':')[0]!r}" in str(warned[0].message)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("edict:inverting=2", "edict:source_guidance=2"),
        ("flowedit:resting=2", "flowedit:source_guidance=2"),
        ("inversion:solver=gnri,budget=2", "inversion:inverter=gnri,iterations=2"),
    ],
)
def test_methods_have_their_old_options_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match="the old name goes in 0.3"):
        assert method(old) == method(new)


def test_an_old_name_is_found_and_not_listed() -> None:
    assert "hold" in CONTROLS
    assert not set(RENAMED) & set(CONTROLS)
    with pytest.warns(DeprecationWarning, match="'hold' is now 'automatic-mask'"):
        assert CONTROLS["hold"] is CONTROLS["automatic-mask"]


def test_one_option_under_both_names_is_given_twice() -> None:
    with (
        pytest.warns(DeprecationWarning, match="'grow' is now 'dilate'"),
        pytest.raises(ValueError, match="'dilate' is given twice"),
    ):
        control("automatic-mask:dilate=1,grow=2")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed distribution with two plugins, of which one cannot be imported."""
    (tmp_path / "brighten_plugin.py").write_text("class Brighten: ...\n", encoding="utf-8")
    metadata = tmp_path / "brighten-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: brighten\nVersion: 1.0\n", encoding="utf-8")
    entries = "[rnri.tests]\nbrighten = brighten_plugin:Brighten\nbroken = nowhere_at_all:Broken\n"
    (metadata / "entry_points.txt").write_text(entries, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.cache_clear()
    yield "rnri.tests"
    plugins.cache_clear()
    sys.modules.pop("brighten_plugin", None)


def test_plugins_are_listed_unimported_and_imported_when_looked_up(group: str) -> None:
    registry = Registry[object](group, {"own": 1})
    assert list(registry) == ["own", "brighten", "broken"]
    assert len(registry) == 3
    assert "brighten" in registry
    assert "brighten_plugin" not in sys.modules
    assert registry["brighten"] is sys.modules["brighten_plugin"].Brighten
    with pytest.raises(ValueError, match=r"'broken' \(nowhere_at_all:Broken\) cannot be imported: ModuleNotFoundError"):
        registry["broken"]
    with pytest.raises(KeyError):
        registry["other"]


def test_a_plugin_cannot_take_the_name_of_a_component(group: str) -> None:
    assert Registry[object](group, {"brighten": 1})["brighten"] == 1
