"""How an inversion is edited, as one value for Python, command line, HTTP and page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rnri_core.errors import RnriError, RnriTypeError
from rnri_core.inversion.config import check_guidance

from rnri.controls import AnyControl
from rnri.controls import control as find_control

ControlLike = AnyControl | str
"""A control, or its spec such as ``"start-step:strength=0.5"``."""


@dataclass(frozen=True)
class EditConfig:
    """Settings of an edit; ``None`` leaves a choice to the model.

    Attributes:
        guidance: guidance scale, 0 to 100; the model's own for edits.
        negative: negative prompt, which guidance leads away from.
        controls: ``"auto"`` is the automatic mask where the inversion has noise maps, ``()`` is none; else controls
            or their specs, applied in this order.
        steps: steps of the whole sampler, where not as many as were inverted.

    Raises:
        RnriError: for a value out of range, an unknown control, or steps beside controls; ``field`` names it.

    >>> EditConfig(controls=("residual:factor=0.5",)).chosen
    (Residual(factor=0.5),)
    """

    guidance: float | None = None
    negative: str | None = None
    controls: Literal["auto"] | Sequence[ControlLike] = "auto"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.guidance is not None:
            check_guidance(self.guidance)
        if self.controls != "auto" and (isinstance(self.controls, str) or not isinstance(self.controls, Sequence)):
            raise RnriTypeError(
                f"controls={self.controls!r} is no sequence of controls",
                hint="give 'auto', a tuple of controls or () for none",
                field="controls",
            )
        if self.chosen not in ("auto", ()) and self.steps is not None:
            raise RnriError(
                f"steps={self.steps} and controls exclude each other",
                hint="edit in as many steps as were inverted",
                field="steps",
            )

    @cached_property
    def chosen(self) -> tuple[AnyControl, ...] | Literal["auto"]:
        """The controls, specs resolved, or ``"auto"``."""
        if isinstance(self.controls, str):
            return "auto"
        return tuple(find_control(each) if isinstance(each, str) else each for each in self.controls)
