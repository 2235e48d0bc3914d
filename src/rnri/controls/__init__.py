"""Controls of an edit: its strength, its mask, and the features of the source that it keeps."""

from __future__ import annotations

from typing import Literal

from rnri_core.controls.automatic_mask import AutomaticMask
from rnri_core.controls.base import Context, Control, ControlState, Prediction
from rnri_core.controls.residual import Residual
from rnri_core.controls.start_step import StartStep
from rnri_core.registry import Registry, apart, make

from rnri.controls.base import AttentionState, EditContext, ModelControl
from rnri.controls.diffedit_mask import DiffEditMask
from rnri.controls.embedding import Embedding
from rnri.controls.image_mask import ImageMask
from rnri.controls.local_blend import LocalBlend
from rnri.controls.masactrl import MasaCtrl
from rnri.controls.negative import Negative
from rnri.controls.plug_and_play import PlugAndPlay
from rnri.controls.prompt_to_prompt import PromptToPrompt
from rnri.controls.pseudo_guidance import PseudoGuidance
from rnri.controls.reweight import Reweight

AnyControl = Control[EditContext]
"""A control of any kind: one that needs the model (:class:`ModelControl`), or one of the core that does not."""

CONTROLS: Registry[type[AnyControl]] = Registry(
    "rnri.controls",
    {
        "start-step": StartStep,
        "embedding": Embedding,
        "automatic-mask": AutomaticMask,
        "mask": ImageMask,
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

__all__ = [
    "CONTROLS",
    "AnyControl",
    "AttentionState",
    "Context",
    "Control",
    "ControlState",
    "EditContext",
    "ModelControl",
    "Prediction",
    "control",
    "controls",
]


def control(spec: str, *, plain: bool = False) -> AnyControl:
    """The control of a spec.

    Args:
        spec: ``"name"`` or ``"name:option=value,option=value"``; a value that holds a comma stands in quotes.
        plain: whether options that take a file are refused, as in requests.

    Raises:
        RnriError: for an unknown name or option, or a value out of range.

    >>> control("diffedit-mask:threshold=0.5,dilate=2")
    DiffEditMask(threshold=0.5, maps=4, dilate=2, blur=0.5)
    """
    return make(CONTROLS, spec, "control", plain=plain)


def controls(specs: str) -> tuple[AnyControl, ...] | Literal["auto"]:
    """The controls of several specs, apart by semicolons; ``"auto"`` is the default of edits, ``"none"`` is none.

    >>> controls("start-step:strength=0.5; masactrl")
    (StartStep(strength=0.5), MasaCtrl(start=0.08, layers=0.6))
    >>> controls("auto"), controls("none")
    ('auto', ())
    """
    if specs.strip() == "auto":
        return "auto"
    return tuple(map(control, [] if specs.strip() == "none" else apart(specs, ";")))
