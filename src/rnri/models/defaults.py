"""Steps and guidance of a model where a call gives none, as a file beside its weights has them; needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rnri_core.errors import RnriError

SETTINGS = "rnri.json"
"""In a model's folder: a JSON object of its `Defaults`. Most models have none."""


@dataclass(frozen=True)
class Defaults:
    """Number of steps and guidance scale of a model where a call gives none.

    Attributes:
        steps: number of sampling steps.
        guidance: guidance scale of sampling from noise.
        guided: False where a checkpoint's settings are those of networks that were distilled to few steps without
            guidance; they are no proof.
        editing: guidance scale of edits, where they are best at another one.
    """

    steps: int = 30
    guidance: float = 1.0
    guided: bool = True
    editing: float | None = None

    @property
    def edit_guidance(self) -> float:
        """The guidance scale of edits: that of sampling from noise, unless edits have their own."""
        return self.guidance if self.editing is None else self.editing

    @classmethod
    def read(cls, folder: Path) -> Defaults | None:
        """The defaults in a model's folder, `None` without a file of them; RnriError for a file that is damaged."""
        path = folder / SETTINGS
        if not path.is_file():
            return None
        try:
            settings = json.loads(path.read_text())
            editing = float(settings["editing"]) if "editing" in settings else None
            return cls(steps=int(settings["steps"]), guidance=float(settings["guidance"]), editing=editing)
        except (ValueError, KeyError, TypeError) as error:
            raise RnriError(f"{path} is damaged", hint='it should read like {"steps": 30, "guidance": 1.0}') from error

    def write(self, folder: Path) -> None:
        """Write the defaults to a model's folder, for :meth:`read`."""
        settings = {"steps": self.steps, "guidance": self.guidance, "editing": self.editing}
        kept = {name: value for name, value in settings.items() if value is not None}
        (folder / SETTINGS).write_text(json.dumps(kept) + "\n")
