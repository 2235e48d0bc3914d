"""Controls: what they are, the edit they act on, and the state in which they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

from torch import Tensor

from rnri_core.inversion.inversion import Inversion
from rnri_core.registry import Registered


@dataclass(frozen=True, eq=False, kw_only=True)
class Context:
    """The edit that controls act on: P edits sampled in one batch from one inversion.

    Attributes:
        source: the inversion, of K steps.
        count: P.
        source_guided: whether classifier-free guidance was active in the inversion.
    """

    source: Inversion
    count: int = 1
    source_guided: bool = False

    @property
    def steps(self) -> int:
        """K, the number of steps of the inversion."""
        return len(self.source.schedule)

    def beyond(self, k: int, share: float) -> bool:
        """Whether the middle of step ``k`` lies beyond a share of the steps: a share of 0.5 of 4 has steps 0 and 1."""
        return k + 0.5 >= share * self.steps


class Prediction(NamedTuple):
    """The network's outputs at one step.

    Attributes:
        z: the latents (P, C, h, w) at the noisy end of the step.
        conditional: the network output for the target prompts alone, (P, C, h, w).
        output: the network output with guidance, which the step is taken with; ``conditional`` where there is none.
    """

    z: Tensor
    conditional: Tensor
    output: Tensor


class ControlState:
    """A control at work on one edit, which may remember tensors from step to step; the defaults change nothing.

    At each step k = first … K − 1, noisy to clean, the loop (:func:`rnri_core.controls.sampling.run`) takes

        z_clean ← step(z, output) + noise_map(k, δ_k, prediction),    z ← blend(k, z_clean, prediction)
    """

    first: int = 0
    """The step at which the edit begins, from the inversion's latents there."""
    nfe: int = 0
    """Network evaluations that starting it took."""

    def noise_map(self, k: int, delta: Tensor, prediction: Prediction) -> Tensor:
        """The noise map (1 or P, C, h, w) to add after step ``k`` for the inversion's δ; called where it has some."""
        return delta

    def blend(self, k: int, z: Tensor, prediction: Prediction) -> Tensor:
        """The latents (P, C, h, w) to continue with, from those that step ``k`` ends at."""
        return z

    def mask(self) -> Tensor | None:
        """Where the image may change, (1 or P, 1, h, w) in [0, 1] of any size; ``None`` is everywhere."""
        return None


AnyContext = TypeVar("AnyContext", bound=Context, contravariant=True)


class Control(Registered, Generic[AnyContext]):
    """Base of the controls: a frozen dataclass whose fields are declared with :func:`rnri_core.registry.option`.

    ``neutral`` has the values of fields at which it changes nothing, not a bit.
    """

    neutral: ClassVar[Mapping[str, object]]

    @property
    def idle(self) -> bool:
        """Whether it changes nothing, its fields being neutral."""
        return all(getattr(self, name) == value for name, value in self.neutral.items())

    def state(self, context: AnyContext) -> ControlState:
        """The state of this control for one edit.

        Raises:
            RnriError: where the inversion, or the model, cannot serve it.
        """
        return ControlState()
