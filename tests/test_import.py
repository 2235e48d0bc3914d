"""Importing the package costs nothing until something is used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import rnri

HEAVY = ("torch", "diffusers", "transformers", "safetensors", "numpy", "PIL", "typer", "rich")


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_loads_nothing_heavy() -> None:
    loaded = python("import sys, rnri; dir(rnri), rnri.__version__; print(*sorted(sys.modules))").split()
    assert not set(HEAVY) & set(loaded)
    assert [name for name in loaded if name.startswith("rnri")] == ["rnri", "rnri.moved"]


def test_solving_loads_neither_diffusers_nor_pictures() -> None:
    code = "import sys, rnri; rnri.solve, rnri.invert, rnri.solver('gnri'); print(*sorted(sys.modules))"
    assert not {"diffusers", "transformers", "PIL"} & set(python(code).split())


@pytest.mark.parametrize("name", rnri.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(rnri, name) is getattr(rnri, name)
    assert name in dir(rnri)


def test_names_do_not_depend_on_what_was_imported_before() -> None:
    modules = "rnri, rnri_core.solvers.solve, rnri_core.solvers, rnri_core.inversion.inversion"
    code = f"import {modules}; print(callable(rnri.solve), callable(rnri.invert))"
    assert python(code) == "True True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'inverse'"):
        rnri.inverse  # noqa: B018


def test_the_version_is_the_installed_one() -> None:
    assert version("rnri") == rnri.__version__
