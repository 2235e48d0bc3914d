"""What is asked and answered over HTTP: the one place that says names, ranges and examples."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fastapi import Form
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from rnri_core.errors import RnriError
from rnri_core.inversion.config import MAX_GUIDANCE, MAX_SEED
from rnri_core.inversion.presets import check
from rnri_core.solvers.solve import Status

from rnri.editing.editor import Timings
from rnri.web.engine import Drawing
from rnri.web.store import Inverted, Settings

MAX_PROMPT = 1000
MAX_SIDE = 4096
MAX_STEPS = 1000
MAX_FIELDS = 16
ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"

_BUDGET = r"^[1-9][0-9]{0,2}(,[1-9][0-9]{0,2}){0,99}$"


def _known(spec: str) -> str:
    check(spec, plain=True)
    return spec


def _says_something(prompt: str) -> str:
    if not prompt.strip():
        raise RnriError("it is empty", hint="say what the image shows")
    return prompt


Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT), AfterValidator(_says_something)]
Guidance = Annotated[float, Field(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)]
Strength = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Negative = Annotated[str, Field(max_length=MAX_PROMPT)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]

GUIDANCE = (
    "How hard the result follows its prompt, as the model's own pipeline counts: mostly active above 1, at twice the "
    "cost. The model's own if not given."
)
NEGATIVE = "What is not wanted; needs guidance."
WIDTH, HEIGHT = "Width of the result in pixels; that of the image if not given.", "Height of the result in pixels."
SOLVER = "How each step is inverted: auto, faithful, or name[:field=value,…][+wrapper] of /v1/solvers."


class EditRequest(BaseModel):
    """What is to be drawn from an inversion."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"prompt": "a blue metal ball on sand", "guidance": 1.0}}
    )

    @model_validator(mode="before")
    @classmethod
    def _few(cls, given: Any) -> Any:
        """Nothing is said of each of very many fields."""
        if isinstance(given, dict) and len(given) > MAX_FIELDS:
            raise RnriError(f"{len(given)} fields are given", hint=f"send some of {', '.join(cls.model_fields)}")
        return given

    prompt: Prompt = Field(description="What the result shows.", examples=["a blue metal ball on sand"])
    guidance: Guidance | None = Field(default=None, description=GUIDANCE)
    negative: Negative = Field(default="", description=NEGATIVE)
    width: Side | None = Field(default=None, description=WIDTH)
    height: Side | None = Field(default=None, description=HEIGHT)
    strength: Strength = Field(default=1.0, description="The part of the inverted steps to draw: less changes less.")

    def drawing(self) -> Drawing:
        """The same as the engine takes it."""
        return _drawing(self.prompt, self.guidance, self.negative, self.width, self.height, self.strength)


class LiveRequest(EditRequest):
    """A message to /v1/live: an edit of an inversion, with a number that its frame will bear."""

    inversion: str = Field(pattern=ID_PATTERN)
    sequence: int = Field(default=0, ge=0, le=2**53)
    format: Literal["png", "jpeg", "webp"] = "jpeg"


def settings(
    solver: Annotated[
        str, Form(max_length=300, description=SOLVER, examples=["auto", "anderson:memory=3"]), AfterValidator(_known)
    ] = "auto",
    steps: Annotated[
        int | None, Form(ge=1, le=MAX_STEPS, description="Steps between noise and image; the model's own if not given.")
    ] = None,
    strength: Annotated[
        float, Form(gt=0, le=1, allow_inf_nan=False, description="The part of the steps to invert: less changes less.")
    ] = 1.0,
    source_guidance: Annotated[
        float | None,
        Form(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False, description="Guidance while inverting; none if not given."),
    ] = None,
    budget: Annotated[
        str | None,
        Form(
            pattern=_BUDGET,
            description="Iterations per step, or a plan from the image outwards whose last entry repeats.",
            examples=["2", "5,1"],
        ),
    ] = None,
    tol: Annotated[
        float | None,
        Form(
            gt=0, le=1, allow_inf_nan=False, description="Residual at which a step is good enough; none if not given."
        ),
    ] = None,
    start: Annotated[
        Literal["clean", "noised"] | None, Form(description="Where the first step's solver starts.")
    ] = None,
    predictor: Annotated[bool | None, Form(description="Start each step from the output of the one before.")] = None,
    correct: Annotated[bool | None, Form(description="Keep what each step misses and add it when drawing.")] = None,
    seed: Annotated[int, Form(ge=0, le=MAX_SEED, description="Of all noise that is drawn.")] = 0,
) -> Settings:
    """How to invert, from the fields of a form; the solver says what is not given."""
    plan = None if budget is None else tuple(map(int, budget.split(",")))
    return Settings(
        solver=solver,
        steps=steps,
        strength=strength,
        guidance=source_guidance,
        budget=plan[0] if plan and len(plan) == 1 else plan,
        tol=tol,
        start=start,
        predictor=predictor,
        correct=correct,
        seed=seed,
    )


def form_drawing(
    prompt: Annotated[Prompt, Form(description="What the result shows.", examples=["a blue metal ball on sand"])],
    guidance: Annotated[Guidance | None, Form(description=GUIDANCE)] = None,
    negative: Annotated[Negative, Form(description=NEGATIVE)] = "",
    width: Annotated[Side | None, Form(description=WIDTH)] = None,
    height: Annotated[Side | None, Form(description=HEIGHT)] = None,
) -> Drawing:
    """What to draw, from the fields of a form."""
    return _drawing(prompt, guidance, negative, width, height, 1.0)


def _drawing(
    prompt: str, guidance: float | None, negative: str, width: int | None, height: int | None, strength: float
) -> Drawing:
    if (width is None) != (height is None):
        raise RnriError(f"size={width}×{height} lacks a side", hint="give width and height, or neither", field="size")
    size = None if width is None or height is None else (width, height)
    return Drawing((prompt,), guidance, negative, size, strength)


class QualityAnswer(BaseModel):
    """How good an inversion is."""

    psnr_db: float | None = Field(description="PSNR of the reconstruction; null if it is not finite.", examples=[31.2])
    bound_db: float | None = Field(description="That of the autoencoder alone, which bounds it.", examples=[33.0])
    status: str = Field(description="How the worst step ended.", examples=[status.name for status in Status])
    residual: float | None = Field(
        description="The largest of all steps, ‖z′ − denoise(z)‖/‖z′‖; null if DRAWN.", examples=[0.01]
    )


class SecondsAnswer(BaseModel):
    """Seconds by stage; `wait` is until it had its turn."""

    wait: float
    encode: float
    invert: float
    edit: float
    decode: float

    @classmethod
    def of(cls, timings: Timings, waited: float) -> SecondsAnswer:
        """Those, to a tenth of a millisecond."""
        spent = {name: round(getattr(timings, name), 4) for name in ("encode", "invert", "edit", "decode")}
        return cls(wait=round(waited, 4), **spent)


class CostAnswer(BaseModel):
    """Network calls and Jacobian products of an inversion, and the seconds it took."""

    nfe: int = Field(examples=[12])
    njvp: int
    nvjp: int
    seconds: SecondsAnswer


class InversionAnswer(BaseModel):
    """An inversion that is kept."""

    id: str = Field(pattern=ID_PATTERN, description="Whoever has it and the key it was made with may use it.")
    prompt: str
    solver: str
    steps: int
    width: int
    height: int
    quality: QualityAnswer
    cost: CostAnswer
    remarks: list[str] = Field(description="What the model cannot read of the prompt.")

    @classmethod
    def of(cls, found: Inverted) -> InversionAnswer:
        """What is told of it."""
        quality, cost = found.quality, found.cost
        return cls(
            id=found.id,
            prompt=found.prompt,
            solver=found.settings.solver,
            steps=found.steps,
            width=found.size[0],
            height=found.size[1],
            quality=QualityAnswer(
                psnr_db=finite(quality.psnr_db),
                bound_db=finite(quality.bound_db),
                status=quality.status,
                residual=finite(quality.residual),
            ),
            cost=CostAnswer(
                nfe=cost.nfe, njvp=cost.njvp, nvjp=cost.nvjp, seconds=SecondsAnswer.of(cost.timings, cost.waited)
            ),
            remarks=list(found.remarks),
        )


class ModelAnswer(BaseModel):
    """A model: the one that is served, or one that could be."""

    name: str
    about: str
    served: bool
    fingerprint: str | None = Field(default=None, description="A digest of the weights of the one that is served.")
    width: int | None = None
    height: int | None = None
    steps: int | None = Field(default=None, description="What it is best used with.")
    guidance: float | None = Field(default=None, description="For drawing from noise.")
    edit_guidance: float | None = Field(default=None, description="For edits, where none is given.")


Scalar = bool | int | float | str


class OptionAnswer(BaseModel):
    """A field of a solver."""

    name: str
    type: str
    default: Scalar
    about: str
    low: float | None
    high: float | None
    choices: list[str]


class SolverAnswer(BaseModel):
    """A solver, or, `wrapper`, what can be laid over one."""

    name: str
    about: str
    wrapper: bool
    source: str | None
    options: list[OptionAnswer]


class StateAnswer(BaseModel):
    """How the server is."""

    status: Literal["ok", "ready", "stopping", "full"]


def finite(value: float | None) -> float | None:
    """The value, None where JSON has no word for it."""
    return value if value is not None and math.isfinite(value) else None
