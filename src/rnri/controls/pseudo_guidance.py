"""Guidance from the source prompt to the target prompt, for models without classifier-free guidance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core import publications
from rnri_core.registry import option

from rnri.controls.base import ModelControl


@dataclass(frozen=True)
class PseudoGuidance(ModelControl):
    """Amplify what the target prompt changes: m = m_target + (weight − 1)·(m_target − m_source).

    m_source is the network output at the same latents for the source prompt: only the effect of the prompts is scaled,
    not that of the latents differing from the source's. It works with distilled models, which have no guidance.
    """

    source = publications.TURBOEDIT
    passage = "Section 4, pseudo-guidance"
    neutral: ClassVar = {"weight": 1.0}

    weight: float = option(1.5, "1 is none", low=0.0, high=100.0)

    def pseudo_guidance(self) -> float:
        return self.weight - 1
