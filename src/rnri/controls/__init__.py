"""How an edit is made: how strong, where, and what stays. To add a control: a file and a line."""

from __future__ import annotations

from rnri_core.registry import Registry, apart, make

from rnri.controls.automatic_mask import AutomaticMask
from rnri.controls.base import Bound, Control, Job
from rnri.controls.diffedit_mask import DiffEditMask
from rnri.controls.embedding import Embedding
from rnri.controls.given_mask import GivenMask
from rnri.controls.local_blend import LocalBlend
from rnri.controls.masactrl import MasaCtrl
from rnri.controls.negative import Negative
from rnri.controls.plug_and_play import PlugAndPlay
from rnri.controls.prompt_to_prompt import PromptToPrompt
from rnri.controls.pseudo_guidance import PseudoGuidance
from rnri.controls.residual import Residual
from rnri.controls.reweight import Reweight
from rnri.controls.start_step import StartStep

CONTROLS: Registry[type[Control]] = Registry(
    "rnri.controls",
    {
        "start-step": StartStep,
        "embedding": Embedding,
        "automatic-mask": AutomaticMask,
        "mask": GivenMask,
        "diffedit-mask": DiffEditMask,
        "local-blend": LocalBlend,
        "prompt-to-prompt": PromptToPrompt,
        "reweight": Reweight,
        "masactrl": MasaCtrl,
        "plug-and-play": PlugAndPlay,
        "residual": Residual,
        "negative": Negative,
        "pseudo-guidance": PseudoGuidance,
    },
)
"""Controls by name; those of other distributions are in the entry-point group ``rnri.controls``."""

__all__ = ["CONTROLS", "Bound", "Control", "Job", "control", "controls"]


def control(spec: str, *, plain: bool = False) -> Control:
    """The control that ``spec`` names, with the fields it sets: ``"name"`` or ``"name:field=value,field=value"``.

    A value that holds a comma stands in quotes. ``plain``, for specs of requests, refuses fields that take a file.
    Raises ``ValueError`` for what does not fit, saying what does.

    >>> control("diffedit-mask:threshold=0.5,dilate=2")
    DiffEditMask(threshold=0.5, maps=4, dilate=2, blur=0.5)
    """
    return make(CONTROLS, spec, "control", plain=plain)


def controls(specs: str) -> tuple[Control, ...]:
    """Several, apart by semicolons.

    >>> controls("start-step:strength=0.5; masactrl")
    (StartStep(strength=0.5), MasaCtrl(start=0.08, layers=0.6))
    """
    return tuple(map(control, apart(specs, ";")))
