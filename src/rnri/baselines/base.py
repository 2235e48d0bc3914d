"""Base of editing methods: from a picture, its prompt and target prompts to edits and their cost."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from rnri_core.registry import Registered, option
from rnri_core.solvers.equation import calls
from rnri_core.solvers.solve import Status

from rnri.editing.editor import Editor
from rnri.images import ImageLike, Picture


@dataclass(frozen=True, kw_only=True)
class EditCost:
    """What the edits of one picture took, its inversion included.

    Attributes:
        nfe: network evaluations, one for each latent of a batch: two a step with guidance.
        njvp, nvjp: exact Jacobian products, each about two evaluations.
        seconds: wall time, from pixels to pixels.
        residual: the largest of all steps of the inversion; ``None`` where no equation is solved.
        status: name of the worst :class:`rnri.Status`.
    """

    nfe: int
    njvp: int = 0
    nvjp: int = 0
    seconds: float
    residual: float | None = None
    status: str = Status.NOT_SOLVED.name

    @property
    def calls(self) -> int:
        """Network evaluations, a product counted as two."""
        return calls(self.nfe, self.njvp, self.nvjp)


@dataclass(frozen=True, kw_only=True)
class MethodResult(EditCost):
    """The edits of one picture: a picture for each target, in their order and of the size of the source."""

    pictures: list[Picture]


@dataclass(frozen=True)
class EditMethod(Registered):
    """Base of the methods: a frozen dataclass whose fields are declared with :func:`rnri_core.registry.option`."""

    steps: int = option(0, "sampling steps between noise and picture, 0 for the model's own number", low=0)
    guidance: float | None = option(
        None, "guidance scale of the edit; the model's own if not given", low=0.0, high=100.0
    )

    @abstractmethod
    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> MethodResult:
        """Edit a picture by text.

        Args:
            editor: the model that edits.
            image: the picture.
            source: its prompt.
            targets: a prompt for each edit.
            seed: seed of all noise that the method draws.

        Raises:
            RnriError: where the model cannot serve the method.
        """
