"""What every control shares, and what it sees of an edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion
from rnri_core.registry import Registered
from torch import Tensor

from rnri.models.attention import places, spelled
from rnri.models.attention_hooks import AttentionHook, Place
from rnri.models.base import Condition, Model

Words = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, eq=False)
class Job:
    """One edit as its controls see it: P prompts drawn at once from one inversion.

    The network's batch holds the latents' rows again and again, once for each prediction that is combined;
    ``targets`` are those told the prompts. With ``beside``, row 0 is the source: the inversion's own latents, told its
    own prompt. ``length`` is how many tokens of a prompt the network reads. ``unguided`` are the rows told the negative
    prompt, first the source's latents, then the edits'; ``None`` where no control asks for it, or guidance is 1.
    """

    model: Model
    source: Inversion
    prompts: tuple[str, ...]
    beside: bool
    targets: slice
    length: int
    unguided: slice | None = None

    @property
    def steps(self) -> int:
        """How many steps the inversion has."""
        return len(self.source.schedule)

    def words(self, prompt: str) -> Words:
        """The words of a prompt, each with the positions of its tokens."""
        return spelled(self.model, prompt, self.length)

    def layers(self) -> tuple[Place, ...]:
        """The attention layers of the network. Raises TypeError for a model that has no UNet."""
        return places(self.model)

    def missing(self, what: str, cure: str) -> RnriError:
        """The error of a control that finds no layer to act on."""
        height, width = self.source.noise.shape[-2:]
        width, height = self.source.size or (width, height)
        return RnriError(f"{self.model.name} has no {what} for a picture of {width}×{height}", hint=cure)

    def reached(self, k: int, share: float) -> bool:
        """Whether the middle of step k lies beyond this share of the steps: of 4 steps, 0.5 have 0 and 1 before it."""
        return k + 0.5 >= share * self.steps


class Bound(AttentionHook):
    """A control at work on one edit; made anew for each, so that it may remember things from step to step.

    All that is not overridden leaves things as they are. ``k`` is the step the network is at.
    """

    k: int = 0
    first: int = 0
    """Steps before this one are the inversion's own: the edit starts from its latents there."""
    nfe: int = 0
    """Network evaluations it made when it was bound."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def condition(self, target: Condition) -> Condition:
        """What the network is told, P rows, instead of the prompts."""
        return target

    def observe(self, z: Tensor, plain: Tensor, prediction: Tensor) -> None:
        """Told at each step its latents z (P, …), what the network says of them for the prompts, and what is made of
        that with guidance."""

    def correct(self, delta: Tensor) -> Tensor:
        """What is added after this step for the inversion's correction δ, (1 or P, …); asked after `observe`."""
        return delta

    def blend(self, k: int, z: Tensor) -> Tensor:
        """The latents (P, …) to go on with after step k."""
        return z

    def mask(self) -> Tensor | None:
        """Where the picture may change, (1 or P, 1, h, w) in [0, 1] of any size; ``None`` is everywhere."""
        return None


class Control(Registered):
    """Base of the controls: a frozen dataclass whose fields are declared with :func:`rnri_core.registry.option`.

    ``neutral`` are the values of fields at which it changes nothing, not a bit.
    """

    neutral: ClassVar[Mapping[str, object]]
    attends: ClassVar[bool] = False
    """Whether it hooks into attention."""
    beside: ClassVar[bool] = False
    """Whether the source has to run beside the edit, for a row more of the batch."""
    unguided: ClassVar[bool] = False
    """Whether it has to run with the negative prompt as well, where guidance is not 1: another row."""

    @property
    def idle(self) -> bool:
        """Whether it changes nothing, its fields being neutral."""
        return all(getattr(self, name) == value for name, value in self.neutral.items())

    def negative(self, source: str) -> str | None:
        """What guidance leads away from, if this control says so; ``source`` is the prompt of the inversion."""
        return None

    def push(self) -> float:
        """How much of the difference between the prompt's and the source prompt's prediction is added."""
        return 0.0

    def bind(self, job: Job) -> Bound:
        """This control at work on one edit. Raises ValueError where the inversion cannot serve it."""
        return Bound(job)
