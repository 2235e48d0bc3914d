"""Settings of inversions and edits: what is refused, and which field it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rnri_core.errors import RnriError, RnriTypeError
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.implicit import Implicit
from rnri_core.solvers import solver

from rnri.controls import control
from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.editing.renamed import configured
from tests import tiny
from tests.problems import gaussian_schedule

SOURCE, TARGET = "a red ball on sand", "a blue ball on sand"


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"inverter": "magic"}, "inverter"),
        ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"strength": 0.0}, "strength"),
        ({"strength": 1.01}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"guidance": -0.1}, "guidance"),
        ({"guidance": 101}, "guidance"),
        ({"guidance": float("nan")}, "guidance"),
        ({"tol": 0.0}, "tol"),
        ({"tol": float("nan")}, "tol"),
        ({"init": "warm"}, "init"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_a_setting_of_an_inversion_that_is_refused_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(RnriError) as error:
        InversionConfig(**changes)
    assert error.value.field == field
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"guidance": -0.1}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"controls": "automatic-mask"}, "controls"),
        ({"controls": None}, "controls"),
        ({"controls": ("automatic-mask",), "steps": 4}, "steps"),
    ],
)
def test_a_setting_of_an_edit_that_is_refused_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(RnriError) as error:
        EditConfig(**changes)
    assert error.value.field == field
    assert "\n" not in str(error.value)


def test_a_spec_that_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(RnriError, match="'anderson': memory=0 is outside 1 to 50"):
        InversionConfig(inverter="anderson:memory=0")
    with pytest.raises(RnriError, match="no control is called 'magic'"):
        EditConfig(controls=("magic",))


def test_settings_make_the_inverter() -> None:
    config = InversionConfig(inverter="gnri", iterations=(3, 1), tol=0.1, init="predicted", noise_maps=True)
    made = config.inverter_for(gaussian_schedule())
    assert made == Implicit(solver("gnri"), (3, 1), 0.1, "predicted", noise_maps=True)
    assert InversionConfig(inverter=made).inverter_for(gaussian_schedule()) is made


def test_specs_of_controls_are_resolved() -> None:
    assert EditConfig().chosen == "auto"
    assert EditConfig(controls=()).chosen == ()
    hold = control("automatic-mask")
    assert EditConfig(controls=["start-step:strength=0.5", hold]).chosen == (control("start-step:strength=0.5"), hold)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"solver": "gnri"}, {"inverter": "gnri"}),
        ({"solver": "gnri", "budget": (2, 1)}, {"inverter": "gnri", "iterations": (2, 1)}),
        ({"correct": False}, {"noise_maps": False}),
        ({"start": "noised", "predictor": False}, {"init": "noised"}),
        ({"start": "clean", "predictor": True}, {"init": "predicted"}),
        ({"start": "noised", "predictor": True}, {"init": "noised-predicted"}),
        ({"start": "clean", "predictor": False}, {"init": "clean"}),
        ({"solver": "gnri", "predictor": True}, {"inverter": "gnri", "init": "predicted"}),
        ({"solver": "gnri", "start": "noised"}, {"inverter": "gnri", "init": "noised"}),
    ],
)
def test_option_names_of_01_warn_and_mean_what_they_meant(
    editor: Editor, old: dict[str, Any], new: dict[str, Any]
) -> None:
    expected = editor.invert(picture(), SOURCE, steps=3, **new)
    with pytest.warns(DeprecationWarning, match=r"the old names? goe?s? in 0\.3") as warned:
        inversion = editor.invert(picture(), SOURCE, steps=3, **old)
    assert all(each.filename == __file__ for each in warned)
    assert inversion.noise.equal(expected.noise)
    assert (inversion.noise_maps is None) == (expected.noise_maps is None)


def test_an_option_that_is_none_is_named(editor: Editor) -> None:
    with pytest.raises(RnriTypeError, match="'colour' is not an option: options are inverter, steps, ") as error:
        editor.invert(picture(), SOURCE, colour="red")
    assert error.value.field == "colour"
    source = editor.invert(picture(), SOURCE, steps=1)
    with pytest.raises(TypeError, match="'solver' is not an option: options are guidance, negative, controls, steps"):
        editor.edit(source, TARGET, solver="gnri")


def test_options_win_over_a_config(editor: Editor) -> None:
    config = InversionConfig(steps=2, seed=3, guidance=2.0)
    inversion = editor.invert(picture(), SOURCE, config, steps=3)
    assert (len(inversion.schedule), inversion.seed, inversion.guidance) == (3, 3, 2.0)
    one = editor.edit(inversion, TARGET, EditConfig(guidance=3.0, controls=()), guidance=1.0)
    assert one.sampled.latents.equal(editor.sample(inversion, [TARGET], guidance=1.0, controls=()).latents)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("strength", value) for value in ("x", None, True)),
        *(("steps", value) for value in (True, 2.5, "4")),
        *(("calls", value) for value in ("8", float("nan"), 0)),
        *(("iterations", value) for value in ("3", 2.5, float("nan"), (), (2, "1"), 0)),
        *(("guidance", value) for value in ("3", True)),
        *(("tol", value) for value in ("x", 0)),
        *(("seed", value) for value in (True, 1.5)),
    ],
)
def test_values_of_another_type_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(RnriError) as caught:
        InversionConfig(**{field: value})
    assert caught.value.field == field
    assert caught.value.problem.startswith(f"{field}=")


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    values: dict[str, Any] = {"steps": np.int64(4), "seed": np.int32(1), "iterations": np.int64(2)}
    assert InversionConfig(**values).steps == 4


@pytest.mark.parametrize(
    ("old", "value", "field"), [("start", 3, "start"), ("start", "zzz", "init"), ("predictor", "x", "predictor")]
)
def test_old_options_of_another_type_are_refused_by_name(old: str, value: object, field: str) -> None:
    with pytest.warns(DeprecationWarning, match="the old name goes in 0.3"), pytest.raises(RnriError) as caught:
        configured(InversionConfig(), {old: value})
    assert caught.value.field == field


@pytest.mark.parametrize("size", [5, (1,), (64, 64, 64), ("1", 2), (True, 4)])
def test_a_size_that_is_no_pair_is_refused(editor: Editor, size: Any) -> None:
    inversion = editor.invert(picture(), SOURCE, steps=2)
    with pytest.raises(RnriError, match="is out of range: give a width and a height"):
        editor.edit(inversion, TARGET, size=size)


def test_a_prompt_that_is_no_text_is_refused(editor: Editor) -> None:
    with pytest.raises(RnriTypeError, match="the prompt 3 is no text"):
        editor.invert(picture(), 3)  # type: ignore[arg-type]
