"""Fields of requests: those of the configs of the editor, and their names of 0.1."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from rnri_core.errors import RnriError
from rnri_core.inversion.config import InversionConfig

from rnri.editing.config import EditConfig
from rnri.web.schemas import EditFields, EditForm, InversionFields
from tests.engines import control_with


def names(schema: type[BaseModel]) -> set[str]:
    """Names of a schema's fields in the config."""
    return {field.serialization_alias or name for name, field in schema.model_fields.items()}


def test_requests_have_the_fields_and_defaults_of_the_configs() -> None:
    fields = {each.name for each in dataclasses.fields(InversionConfig)}
    assert names(InversionFields) == fields - {"resolution"}  # the server fits images to the model
    assert InversionFields().inversion_config() == InversionConfig()
    assert names(EditFields) - {"prompt", "width", "height"} == {each.name for each in dataclasses.fields(EditConfig)}
    assert EditFields(prompt="a ball").task().config == EditConfig()


def test_a_form_of_both_keeps_them_apart() -> None:
    values: dict[str, Any] = {"steps": 8, "edit_steps": 4, "guidance": 2.0, "source_guidance": 1.5, "iterations": "5,1"}
    form = EditForm.model_construct(**values, prompt="a cube", source="a ball")
    assert form.inversion_config() == InversionConfig(steps=8, guidance=1.5, iterations=(5, 1))
    assert form.task().config == EditConfig(guidance=2.0, steps=4)


def test_an_error_names_the_field_of_the_request() -> None:
    with pytest.raises(RnriError, match="steps=4 and controls exclude each other") as refused:
        EditFields(prompt="a ball", edit_steps=4, controls=[control_with("strength")]).task()
    assert refused.value.field == "edit_steps"


@pytest.mark.parametrize(
    ("settings", "init"),
    [
        ({}, None),
        ({"start": "noised"}, "noised-predicted"),
        ({"predictor": "false"}, "noised"),
        ({"start": "clean"}, "predicted"),
        ({"start": "clean", "predictor": False}, "clean"),
        ({"solver": "gnri", "start": "noised"}, "noised"),
        ({"inverter": "gnri", "predictor": "true"}, "predicted"),
        ({"solver": "faithful", "predictor": "0"}, "clean"),
        ({"init": "clean", "start": "noised"}, "clean"),
    ],
)
def test_start_and_predictor_of_0_1_give_the_initial_guess(settings: dict[str, Any], init: str | None) -> None:
    request = InversionFields.model_validate(settings)
    assert request.inversion_config().init == init
    old = sorted({"solver", "start", "predictor"} & set(settings))
    assert [remark.split("'")[1] for remark in request.renamed] == old


def test_a_predictor_that_is_no_answer_is_refused() -> None:
    with pytest.raises(ValidationError, match="valid boolean"):
        InversionFields.model_validate({"predictor": "maybe"})
