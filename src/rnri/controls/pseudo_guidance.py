"""Guidance from the source prompt to the target prompt, for models that take none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option

from rnri.controls.base import Control


@dataclass(frozen=True)
class PseudoGuidance(Control):
    """Amplify what the target prompt changes: m = m_target + (weight − 1)·(m_target − m_source).

    m_source is the prediction at the same latents for the source prompt: the cross-prompt term alone is scaled, what
    comes of the latents being others than the source's is not. Works with distilled models, which know no guidance.
    """

    source = publications.TURBOEDIT
    passage = "Section 4, pseudo-guidance"
    neutral: ClassVar = {"weight": 1.0}

    weight: float = option(1.5, "1 is none", low=0.0, high=100.0)

    def push(self) -> float:
        return self.weight - 1
