"""Direct Inversion: explicit inversion, its source branch corrected at every step, with attention from that branch."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core import publications
from rnri_core.registry import option

from rnri.baselines.base import EditMethod, MethodResult
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

    cross: float = option(0.4, "share of the steps whose cross attention is the source's", low=0.0, high=1.0)
    layout: float = option(0.6, "share of the steps whose self attention is the source's", low=0.0, high=1.0)

    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> MethodResult:
        inversion = InversionBaseline(
            inverter="explicit",
            iterations="1",
            steps=self.steps,
            guidance=self.guidance,
            controls=f"prompt-to-prompt:cross={self.cross},layout={self.layout}",
        )
        return inversion.edit(editor, image, source, targets, seed=seed)
