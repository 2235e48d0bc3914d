"""How an edit is made: how strong, where, and what stays. To add a control: a file and a line."""

from __future__ import annotations

from rnri_core.registry import apart, make

from rnri.controls.base import Bound, Control, Job
from rnri.controls.depth import Depth
from rnri.controls.embedding import Embedding
from rnri.controls.hold import Hold
from rnri.controls.keep import Keep
from rnri.controls.keep_difference import KeepDifference
from rnri.controls.keep_words import KeepWords
from rnri.controls.masactrl import MasaCtrl
from rnri.controls.negative import Negative
from rnri.controls.plug_and_play import PlugAndPlay
from rnri.controls.prompt_to_prompt import PromptToPrompt
from rnri.controls.pseudo_guidance import PseudoGuidance
from rnri.controls.residual import Residual
from rnri.controls.reweight import Reweight

CONTROLS: dict[str, type[Control]] = {
    "depth": Depth,
    "embedding": Embedding,
    "hold": Hold,
    "keep": Keep,
    "keep-difference": KeepDifference,
    "keep-words": KeepWords,
    "prompt-to-prompt": PromptToPrompt,
    "reweight": Reweight,
    "masactrl": MasaCtrl,
    "plug-and-play": PlugAndPlay,
    "residual": Residual,
    "negative": Negative,
    "pseudo-guidance": PseudoGuidance,
}

__all__ = ["CONTROLS", "Bound", "Control", "Job", "control", "controls"]


def control(spec: str, *, plain: bool = False) -> Control:
    """The control that ``spec`` names, with the fields it sets: ``"name"`` or ``"name:field=value,field=value"``.

    A value that holds a comma stands in quotes. ``plain``, for specs of requests, refuses fields that take a file.
    Raises ``ValueError`` for what does not fit, saying what does.

    >>> control("keep-difference:threshold=0.5,grow=2")
    KeepDifference(threshold=0.5, looks=4, grow=2, soft=0.5)
    """
    return make(CONTROLS, spec, "control", plain=plain)


def controls(specs: str) -> tuple[Control, ...]:
    """Several, apart by semicolons.

    >>> controls("depth:strength=0.5; masactrl")
    (Depth(strength=0.5), MasaCtrl(start=0.08, layers=0.6))
    """
    return tuple(map(control, apart(specs, ";")))
