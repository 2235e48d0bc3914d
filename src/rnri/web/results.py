"""Results of inversions as the engine returns them and HTTP answers them."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from rnri_core.solvers.solve import Status

from rnri.editing.timings import Timings

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


Finite = Annotated[float | None, AfterValidator(_finite)]
"""A number, None where it is infinite or not a number, which JSON cannot hold."""


class Result(BaseModel):
    """An immutable value."""

    model_config = ConfigDict(frozen=True)


class Seconds(Result):
    """Wall-clock seconds by stage; `wait` is the time in the queue."""

    wait: float
    encode: float
    invert: float
    edit: float
    decode: float

    @classmethod
    def of(cls, timings: Timings, wait: float) -> Seconds:
        """The seconds of an editor's timings and of a queue."""
        return cls(wait=wait, encode=timings.encode, invert=timings.invert, edit=timings.edit, decode=timings.decode)


class ComputeCost(Result):
    """Network evaluations and Jacobian products for one image, and the seconds they took."""

    nfe: int = Field(examples=[12])
    njvp: int
    nvjp: int
    seconds: Seconds


class Quality(Result):
    """Accuracy of an inversion."""

    psnr_db: Finite = Field(description="PSNR of the reconstruction; null if it is not finite.", examples=[31.2])
    bound_db: Finite = Field(description="PSNR of the autoencoder alone, which bounds it.", examples=[33.0])
    status: str = Field(description="Status of the worst step.", examples=[status.name for status in Status])
    residual: Finite = Field(
        description="The largest of all steps, ‖z′ − denoise(z)‖/‖z′‖; null if NOT_SOLVED.", examples=[0.01]
    )


class InversionReport(Result):
    """An inversion that the server stores: how it was made, its accuracy and its cost."""

    id: str = Field(pattern=ID_PATTERN, description="Valid together with the key that made it.")
    prompt: str
    inverter: str = Field(description="Spec of the inverter that ran, presets resolved.", examples=["edit-friendly"])
    solver: str = Field(description="Inverter as requested; this name goes in 0.3.", deprecated=True)
    steps: int
    width: int
    height: int
    quality: Quality
    cost: ComputeCost
    remarks: list[str] = Field(description="Words outside the model's vocabulary, and renamed fields in the request.")
