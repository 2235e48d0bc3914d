"""The result of an edit: pictures, the trajectory they were sampled on, masks and cost."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core.controls.sampling import Sampled
from rnri_core.inversion.inversion import Inversion

from rnri.images import Picture


@dataclass(frozen=True, eq=False)
class EditResult:
    """An edit of one inversion for P prompts.

    Attributes:
        source: the inversion that was edited.
        prompts: the P target prompts.
        pictures: one for each prompt, in their order.
        sampled: trajectory, masks and network evaluations.
    """

    source: Inversion
    prompts: tuple[str, ...]
    pictures: tuple[Picture, ...]
    sampled: Sampled

    @property
    def picture(self) -> Picture:
        """The picture of the first prompt."""
        return self.pictures[0]

    @property
    def nfe(self) -> int:
        """Network evaluations, one for each latent of a batch; those of the inversion are not counted."""
        return self.sampled.nfe
