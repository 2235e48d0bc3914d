"""Controls that need the model: what they require of the network's batch, and the context they get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnri_core.controls.base import Context, Control, ControlState
from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion

from rnri.models.attention import TokenSpans, attention_layers, token_spans
from rnri.models.attention_hooks import AttentionHook, AttentionLayer
from rnri.models.base import Condition, Model


@dataclass(frozen=True, eq=False, kw_only=True)
class EditContext(Context):
    """The edit that controls act on, with its model: P prompts, sampled in one batch from one inversion.

    The network's batch has the latents several times, once for each prediction that is combined.

    Attributes:
        model: the model.
        prompts: the P target prompts.
        length: tokens of a prompt that the network reads.
        targets: the rows of the batch that are conditioned on the target prompts. With ``ModelControl.needs_source``,
            row 0 is the source: the inversion's own latents under its own prompt.
        negatives: the rows under the negative prompt, first that of the source's latents, then those of the edits;
            ``None`` where no control needs the source there, or guidance is not active.
    """

    model: Model
    prompts: tuple[str, ...]
    length: int
    targets: slice
    negatives: slice | None = None

    def spans(self, prompt: str) -> TokenSpans:
        """The words of a prompt, each with the positions of its tokens."""
        return token_spans(self.model, prompt, self.length)

    def layers(self) -> tuple[AttentionLayer, ...]:
        """The attention layers of the network. Raises TypeError for a model that has no UNet."""
        return attention_layers(self.model)


class ModelControl(Control[EditContext]):
    """Base of the controls that need the model; its class attributes and methods change what the network evaluates."""

    needs_source: ClassVar[bool] = False
    """Whether the network evaluates the source beside the edit, in one more row of the batch."""
    needs_negative_source: ClassVar[bool] = False
    """Whether it evaluates the source under the negative prompt as well, where guidance is active: another row."""

    def negative_prompt(self, source: str) -> str | None:
        """The negative prompt of guidance, given the source prompt; ``None`` leaves that of the edit."""
        return None

    def pseudo_guidance(self) -> float:
        """The weight w of w·(m(z, target) − m(z, source prompt)), which is added to the network output."""
        return 0.0

    def condition(self, context: EditContext, target: Condition) -> Condition:
        """The conditioning (P rows) of the network in place of the target prompts'."""
        return target


class AttentionState(ControlState, AttentionHook):
    """A control at work on one edit that reads or changes the network's attention."""

    def __init__(self, context: EditContext) -> None:
        self.context = context


def missing(model: Model, source: Inversion, layers: str, cure: str) -> RnriError:
    """The error of a control for which the network has no layer to act on."""
    width, height = source.size or tuple(source.noise.shape[:-3:-1])
    return RnriError(f"{model.name} has no {layers} for an image of {width}×{height}", hint=cure)
