"""Explicit inversion whose source branch is put right at every step, and attention taken from it."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core import publications
from rnri_core.registry import option

from rnri.baselines.base import Edited, EditMethod
from rnri.baselines.inversion import InversionBaseline
from rnri.editing.editor import Editor
from rnri.images import ImageLike


@dataclass(frozen=True)
class DirectInversion(EditMethod):
    """Invert explicitly, then sample source and target side by side, the source from the inverted latents.

    The target branch starts from the same noise and takes attention from the source branch, by Prompt-to-Prompt; what
    the inversion missed is added to the source branch alone. Published with guidance 7.5 on Stable Diffusion.
    """

    source = publications.DIRECT_INVERSION
    passage = "Algorithm 1"

    steps: int = option(0, "steps between noise and picture, 0 for the model's own number", low=0)
    guidance: float | None = option(
        None, "how hard the edit follows its prompt; the model's own if not given", low=0.0, high=100.0
    )
    cross: float = option(0.4, "share of the steps whose cross attention is the source's", low=0.0, high=1.0)
    layout: float = option(0.6, "share of the steps whose self attention is the source's", low=0.0, high=1.0)

    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> Edited:
        ours = InversionBaseline(
            inverter="explicit",
            iterations="1",
            steps=self.steps,
            guidance=self.guidance,
            controls=f"prompt-to-prompt:cross={self.cross},layout={self.layout}",
        )
        return ours.edit(editor, image, source, targets, seed=seed)
