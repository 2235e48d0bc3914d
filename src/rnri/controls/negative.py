"""What guidance leads away from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from rnri_core import publications
from rnri_core.registry import option

from rnri.controls.base import Control


@dataclass(frozen=True)
class Negative(Control):
    """Lead away from a prompt instead of from the empty one: m = m_negative + guidance·(m_target − m_negative).

    ``of="source"`` leads away from what the picture showed. Both need guidance that is active, mostly above 1.
    """

    source = publications.NEGATIVE
    passage = "Section 3, for the edit"
    neutral: ClassVar = {"prompt": "", "of": "prompt"}

    prompt: str = option("", "what is not wanted")
    of: Literal["prompt", "source"] = option("prompt", "whether that is `prompt` or the source prompt")

    def negative(self, source: str) -> str:
        return source if self.of == "source" else self.prompt
