"""Module paths of 0.1, which are the modules that took their place."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import pytest

from rnri.moved import MOVED, new_path


@pytest.mark.parametrize("new", sorted(set(MOVED.values())))
def test_what_took_its_place_is_there(new: str) -> None:
    assert importlib.util.find_spec(new) is not None


@pytest.mark.parametrize(
    "old",
    ["rnri.driver", "rnri.schedule", "rnri.solvers", "rnri.solvers.anderson", "rnri.editor", "rnri.methods.sdedit"],
)
def test_an_old_path_imports_the_new_module_with_a_warning(old: str) -> None:
    new = new_path(old)
    assert new is not None
    expected = importlib.import_module(new)
    spec, name = expected.__spec__, expected.__name__
    for known in [each for each in sys.modules if each == old]:
        del sys.modules[known]
    with pytest.warns(DeprecationWarning, match="the old path goes in 0.3") as told:
        module = importlib.import_module(old)
    assert f"{old} is now {new}; the old path goes in 0.3" in [str(each.message) for each in told]
    assert module is expected
    assert (module.__spec__, module.__name__) == (spec, name)


def test_names_of_an_old_path_are_those_of_the_new_one() -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from rnri.schedule import Step; from rnri.solvers.anderson import Anderson; from rnri.editor import Editor\n"
        "import rnri.driver, rnri, rnri_core.sampling.steps, rnri_core.solvers.anderson, rnri_core.solvers.solve\n"
        "import rnri.editing.editor\n"
        "assert Step is rnri_core.sampling.steps.Step\n"
        "assert Anderson is rnri_core.solvers.anderson.Anderson\n"
        "assert Editor is rnri.editing.editor.Editor\n"
        "assert rnri.driver is rnri_core.solvers.solve\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_warning_points_at_the_import() -> None:
    code = "import rnri.driver"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], check=True, capture_output=True, text=True)
    assert "<string>:1: DeprecationWarning: rnri.driver is now rnri_core.solvers.solve" in done.stderr


@pytest.mark.parametrize("name", ["rnri.images", "rnri.nothing", "rnri.solver", "numpy.driver"])
def test_what_has_not_moved_is_left_alone(name: str) -> None:
    assert new_path(name) is None


def test_a_module_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"rnri\.nothing"):
        importlib.import_module("rnri.nothing")
