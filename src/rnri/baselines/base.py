"""What an editing method is: a picture and its prompt in, pictures of other prompts out, and what that took."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from rnri_core.registry import Registered

from rnri.editing.editor import Editor
from rnri.images import ImageLike, Picture


@dataclass(frozen=True)
class Edited:
    """What a method made of one picture.

    ``pictures`` are those of the targets, in their order and of the size of the picture given. ``nfe`` counts network
    evaluations, one for each latent of a batch: guidance costs two a step, two targets twice what one does after what
    they share. ``njvp`` and ``nvjp`` count exact Jacobian products, each about two evaluations. ``seconds`` are wall
    time, from pixels to pixels. ``residual`` is the largest of all steps of the inversion and ``status`` the name of
    the worst :class:`rnri.Status`; ``None`` and ``"NOT_SOLVED"`` where nothing is solved.
    """

    pictures: list[Picture]
    nfe: int
    njvp: int
    nvjp: int
    seconds: float
    residual: float | None
    status: str

    @property
    def calls(self) -> int:
        """Network evaluations, a product counted as two."""
        return self.nfe + 2 * (self.njvp + self.nvjp)


class EditMethod(Registered):
    """Base of the methods: a frozen dataclass whose fields are declared with :func:`rnri_core.registry.option`."""

    @abstractmethod
    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> Edited:
        """The picture ``image``, which shows ``source``, as each of the ``targets`` has it.

        ``seed`` draws all noise the method adds. Raises ``ValueError`` where the model cannot serve the method.
        """
