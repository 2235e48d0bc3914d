"""Importing the package costs nothing until something is used, and its names are few."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest
from rnri_core.solvers import SOLVERS

import rnri
from rnri.controls import CONTROLS
from rnri.moved import NAMES

HEAVY = ("torch", "diffusers", "transformers", "safetensors", "numpy", "PIL", "typer", "rich")


def python(code: str) -> str:
    """The output of a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_loads_nothing_heavy() -> None:
    loaded = python("import sys, rnri; dir(rnri), rnri.__version__; print(*sorted(sys.modules))").split()
    assert not set(HEAVY) & set(loaded)
    assert [name for name in loaded if name.startswith("rnri")] == ["rnri", "rnri.moved"]


def test_inverting_loads_neither_diffusers_nor_images() -> None:
    code = "import sys, rnri; rnri.invert, rnri.sample, rnri.list_solvers(); print(*sorted(sys.modules))"
    assert not {"diffusers", "transformers", "PIL"} & set(python(code).split())


@pytest.mark.parametrize("name", rnri.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(rnri, name) is getattr(rnri, name)
    assert name in dir(rnri)


def test_names_of_components_are_listed() -> None:
    assert set(SOLVERS) | {"auto", "faithful", "edit-friendly"} <= set(rnri.list_solvers())
    assert rnri.list_controls() == list(CONTROLS)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_left_the_surface_works_with_a_warning(name: str) -> None:
    assert name not in rnri.__all__
    with pytest.warns(DeprecationWarning, match=rf"rnri\.{name} is now {NAMES[name]}\.{name}"):
        assert getattr(rnri, name) is getattr(import_module(NAMES[name]), name)


def test_names_do_not_depend_on_what_was_imported_before() -> None:
    modules = "rnri, rnri.editing.interpolate, rnri_core.inversion.inversion, rnri_core.inversion.presets"
    code = f"import {modules}; print(callable(rnri.interpolate), callable(rnri.invert))"
    assert python(code) == "True True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'inverse'"):
        rnri.inverse  # noqa: B018


def test_the_version_is_the_installed_one() -> None:
    assert version("rnri") == rnri.__version__
