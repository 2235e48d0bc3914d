"""Requests over HTTP and of the page: the fields of InversionConfig and EditConfig with their ranges."""

from __future__ import annotations

from dataclasses import fields
from inspect import getdoc
from typing import Annotated, Any, Literal, Self, TypeVar

from fastapi import UploadFile
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    TypeAdapter,
    model_validator,
)
from rnri_core.errors import RnriError
from rnri_core.inversion.config import MAX_GUIDANCE, MAX_SEED, InversionConfig
from rnri_core.inversion.implicit import Init
from rnri_core.inversion.presets import check
from rnri_core.registry import RENAMED, Registered

from rnri.controls import control
from rnri.editing.config import EditConfig
from rnri.editing.renamed import init_of
from rnri.web.jobs import EditTask
from rnri.web.results import ID_PATTERN, Finite

MAX_PROMPT = 1000
MAX_SIDE = 4096
MAX_STEPS = 1000
MAX_FIELDS = 16
MAX_CONTROLS = 8

_PLAN = r"^[1-9][0-9]{0,2}(,[1-9][0-9]{0,2}){0,99}$"
_Config = TypeVar("_Config", InversionConfig, EditConfig)


def _inverter(spec: str) -> str:
    check(spec, plain=True)
    return spec


def _control(spec: str) -> str:
    control(spec, plain=True)
    return spec


def _not_blank(prompt: str) -> str:
    if not prompt.strip():
        raise RnriError("it is empty", hint="say what the image shows")
    return prompt


Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT), AfterValidator(_not_blank)]
Guidance = Annotated[float, Field(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)]
Strength = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
InverterSpec = Annotated[str, Field(max_length=300), AfterValidator(_inverter)]
ControlSpec = Annotated[str, AfterValidator(_control)]
Plan = Annotated[str, Field(pattern=_PLAN), BeforeValidator(str)]


class InversionFields(BaseModel):
    """Settings of an inversion: fields of `InversionConfig`, `source_guidance` for its guidance.

    Names of 0.1 are accepted until 0.3, with a remark in `renamed`.
    """

    inverter: InverterSpec = Field(
        default="auto",
        description="A preset (auto, faithful), a solver name[:field=value,…][+wrapper] of /v1/solvers, or "
        "edit-friendly.",
        examples=["auto", "anderson:memory=3"],
    )
    steps: Steps | None = Field(
        default=None, description="Sampling steps between noise and image; the model's own number."
    )
    strength: Strength = Field(default=1.0, description="Share of the steps that is inverted: less changes less.")
    source_guidance: Guidance | None = Field(
        default=None, serialization_alias="guidance", description="Guidance scale while inverting; none."
    )
    iterations: Plan | None = Field(
        default=None,
        description="Iterations of each step, or a plan from the image outwards whose last entry repeats.",
        examples=["2", "5,1"],
    )
    calls: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Network evaluations of a preset in all."
    )
    tol: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, title="Tolerance", description="Residual at which an image stops iterating; none."
    )
    init: Init | None = Field(default=None, description="Initial guess of each step; the inverter's own.")
    noise_maps: bool | None = Field(
        default=None,
        title="Noise maps",
        description="Store the difference to the next latents for each step; the inverter's own choice.",
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(default=0, description="Seed of all noise.")

    _renamed: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _accept_old_names(cls, values: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        old = sorted(RENAMED.keys() & values.keys()) if isinstance(values, dict) else []
        new = {name: value for name, value in values.items() if name not in old} if old else values
        for name in old:
            if RENAMED[name] != "init":
                new.setdefault(RENAMED[name], values[name])
        if {"start", "predictor"} & set(old):
            predictor = TypeAdapter(bool | None).validate_python(values.get("predictor"))
            new.setdefault("init", init_of(new.get("inverter", "auto"), start=values.get("start"), predictor=predictor))
        request = handler(new)
        request._renamed = tuple(f"field {name!r} is now {RENAMED[name]!r}; the old name goes in 0.3" for name in old)
        return request

    @property
    def renamed(self) -> tuple[str, ...]:
        """Remarks on fields that were given by an old name."""
        return self._renamed

    def inversion_config(self) -> InversionConfig:
        """The settings as the editor takes them."""
        plan = None if self.iterations is None else tuple(map(int, self.iterations.split(",")))
        return _config(self, InversionFields, InversionConfig, iterations=plan[0] if plan and len(plan) == 1 else plan)


class EditFields(BaseModel):
    """An edit: its target prompt, fields of `EditConfig` (`edit_steps` for its steps), the size of the result."""

    prompt: Prompt = Field(description="Target prompt: what the result shows.", examples=["a blue metal ball on sand"])
    guidance: Guidance | None = Field(
        default=None,
        description="Guidance scale as the model's own pipeline defines it: mostly active above 1, at twice the cost; "
        "the model's own for edits.",
    )
    negative: Annotated[str, Field(max_length=MAX_PROMPT)] = Field(
        default="", description="Negative prompt; needs guidance."
    )
    controls: list[ControlSpec] | None = Field(
        default=None,
        max_length=MAX_CONTROLS,
        description="Specs of controls, name[:field=value,…], in this order; the automatic mask where none is given, "
        "no control for an empty list.",
    )
    edit_steps: Steps | None = Field(
        default=None,
        serialization_alias="steps",
        description="Steps of the whole sampler, where not as many as were inverted.",
    )
    width: Side | None = Field(default=None, description="Width of the result in pixels; that of the image.")
    height: Side | None = Field(default=None, description="Height of the result in pixels; that of the image.")

    def task(self, strength: float = 1.0) -> EditTask:
        """The edit as the engine takes it."""
        if (self.width is None) != (self.height is None):
            raise RnriError(
                f"size={self.width}×{self.height} lacks a side", hint="give width and height, or neither", field="size"
            )
        size = None if self.width is None or self.height is None else (self.width, self.height)
        controls = "auto" if self.controls is None else tuple(self.controls)
        config = _config(self, EditFields, EditConfig, negative=self.negative or None, controls=controls)
        return EditTask((self.prompt,), config, size, strength)


class InversionForm(InversionFields):
    """An image and how it is inverted."""

    image: UploadFile = Field(description="PNG, JPEG or WebP.")
    prompt: Prompt = Field(description="Source prompt: what the image shows.", examples=["a red metal ball on sand"])


class EditForm(InversionFields, EditFields):
    """An image, how it is inverted, and an edit."""

    image: UploadFile = Field(description="PNG, JPEG or WebP.")
    source: Prompt = Field(description="Source prompt: what the image shows.", examples=["a red metal ball on sand"])


class EditRequest(EditFields):
    """An edit of an inversion."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"prompt": "a blue metal ball on sand", "guidance": 1.0}}
    )

    @model_validator(mode="before")
    @classmethod
    def _few(cls, values: Any) -> Any:
        """One line for very many fields, instead of one for each."""
        if isinstance(values, dict) and len(values) > MAX_FIELDS:
            raise RnriError(f"{len(values)} fields are given", hint=f"send some of {', '.join(cls.model_fields)}")
        return values

    strength: Strength = Field(
        default=1.0, description="Share of the inverted steps that is sampled again: less changes less."
    )


class LiveRequest(EditRequest):
    """A message to /v1/live: an edit of an inversion, with a number that its frame bears."""

    inversion: str = Field(pattern=ID_PATTERN)
    sequence: int = Field(default=0, ge=0, le=2**53)
    format: Literal["png", "jpeg", "webp"] = "jpeg"


class ModelAnswer(BaseModel):
    """A model: the one that is served, or one that could be."""

    name: str
    about: str
    served: bool
    fingerprint: str | None = Field(default=None, description="A digest of the weights of the one that is served.")
    width: int | None = None
    height: int | None = None
    steps: int | None = Field(default=None, description="Default number of steps.")
    guidance: float | None = Field(default=None, description="Default guidance scale for generation.")
    edit_guidance: float | None = Field(default=None, description="Default guidance scale for edits.")


class OptionAnswer(BaseModel):
    """An option of a solver or a control."""

    name: str
    type: str
    default: bool | int | float | str | None
    about: str
    low: Finite
    high: Finite
    choices: list[str]


class ComponentAnswer(BaseModel):
    """A solver or a control: its name, the first paragraph of its docstring, its options."""

    name: str
    about: str
    options: list[OptionAnswer]

    @classmethod
    def of(cls, name: str, kind: type[Registered], **more: Any) -> Self:
        """The answer on a registered class; `more` are the further fields."""
        about = " ".join((getdoc(kind) or "").partition("\n\n")[0].replace("``", "").split())
        options = [OptionAnswer(type=each.kind.__name__, **vars(each)) for each in kind.options()]
        return cls(name=name, about=about, options=options, **more)


class SolverAnswer(ComponentAnswer):
    """A solver, or a `wrapper` of one."""

    wrapper: bool
    source: str | None = None


class StateAnswer(BaseModel):
    """State of the server."""

    status: Literal["ok", "ready", "stopping", "full"]


def _config(request: BaseModel, schema: type[BaseModel], kind: type[_Config], **values: Any) -> _Config:
    """The config of a request, whose errors name fields as its schema does; `values` are fields in another form."""
    names = {field.serialization_alias or name: name for name, field in schema.model_fields.items()}
    given = {each.name: getattr(request, names[each.name]) for each in fields(kind) if each.name in names}
    try:
        return kind(**given | values)
    except RnriError as error:
        raise RnriError(error.problem, hint=error.hint, field=names.get(error.field or "", error.field)) from None
