"""The share of the inversion's noise maps that is added in the edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnri_core import publications
from rnri_core.controls.base import Context, Control, ControlState, Prediction
from rnri_core.errors import RnriError
from rnri_core.registry import option


@dataclass(frozen=True)
class Residual(Control[Context]):
    """Scale the noise maps δ of the inversion: z_clean = denoise(z) + factor·δ.

    At 1 the source prompt reconstructs the image exactly; below, edits are freer. Needs an inversion with noise maps.
    """

    source = publications.DIRECT_INVERSION
    passage = "Algorithm 1, for the edited branch and in part"
    neutral: ClassVar = {"factor": 1.0}

    factor: float = option(0.5, "0 leaves the noise maps out, 1 adds them whole", low=0.0, high=2.0)

    def state(self, context: Context) -> ControlState:
        if context.source.noise_maps is None:
            raise RnriError("the inversion has no noise maps to scale", hint="invert with noise_maps=True")
        return _Scaled(self.factor)


class _Scaled(ControlState):
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def noise_map(self, k: int, delta: Tensor, prediction: Prediction) -> Tensor:
        return self.factor * delta
