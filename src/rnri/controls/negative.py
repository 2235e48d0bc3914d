"""The negative prompt of guidance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rnri_core import publications
from rnri_core.registry import option

from rnri.controls.base import ModelControl


@dataclass(frozen=True)
class Negative(ModelControl):
    """Guide away from a prompt instead of the empty one: m = m_negative + guidance·(m_target − m_negative).

    ``of="source"`` guides away from the source prompt. Both need active guidance, mostly above 1.
    """

    source = publications.NEGATIVE
    passage = "Section 3, for the edit"
    neutral: ClassVar = {"prompt": "", "of": "prompt"}

    prompt: str = option("", "what the image should not show")
    of: Literal["prompt", "source"] = option("prompt", "whether that is `prompt` or the source prompt")

    def negative_prompt(self, source: str) -> str:
        return source if self.of == "source" else self.prompt
