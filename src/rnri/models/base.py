"""What the editor needs of a model family: pictures to latents and back, prompts, a step table, a denoiser."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch
from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Denoiser, Schedule
from torch import Tensor

SETTINGS = "rnri.json"
"""In a model's folder: a JSON object of the `Defaults` it is best used with. Most models have none."""


Guidance = Literal["classifier-free", "embedded", "none"]
"""How a network follows its prompt harder: against a negative prompt in a second call, told by a number that it reads,
or not at all, where that was distilled away."""


class PromptWarning(UserWarning):
    """Part of a prompt does not reach the network: it is too long, or holds words the model does not know."""


_COLLECTED: ContextVar[list[str] | None] = ContextVar("prompt warnings of this thread", default=None)


def warn_of_prompt(message: str) -> None:
    """Issue a `PromptWarning` where a model's `embed` is called, or add it to what this thread collects."""
    collected = _COLLECTED.get()
    if collected is None:
        warnings.warn(message, PromptWarning, stacklevel=4)
    else:
        collected.append(message)


@contextmanager
def prompt_warnings() -> Iterator[list[str]]:
    """Collect this thread's prompt warnings in a list instead of issuing them.

    `warnings.catch_warnings` would collect those of all threads.

    >>> with prompt_warnings() as collected:
    ...     warn_of_prompt("the prompt is too long")
    >>> collected
    ['the prompt is too long']
    """
    collected: list[str] = []
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)


class GuidanceWarning(UserWarning):
    """A model looks like one that was distilled to draw without guidance, and is told to draw with some."""


@dataclass(frozen=True)
class Defaults:
    """What a model is best used with where nothing else is asked for.

    `guidance` is for drawing from noise, `editing` for edits where they are best at another one. It is not `guided`
    where a checkpoint's settings are those of networks that were distilled to few steps without guidance; they are no
    proof.
    """

    steps: int = 30
    guidance: float = 1.0
    guided: bool = True
    editing: float | None = None

    @property
    def edit_guidance(self) -> float:
        """How hard edits follow their prompt: what holds of drawing, unless edits have their own."""
        return self.guidance if self.editing is None else self.editing

    @classmethod
    def read(cls, folder: Path) -> Defaults | None:
        """Those in a model's folder, `None` if it says nothing; ValueError for a file that makes no sense."""
        path = folder / SETTINGS
        if not path.is_file():
            return None
        try:
            said = json.loads(path.read_text())
            editing = float(said["editing"]) if "editing" in said else None
            return cls(steps=int(said["steps"]), guidance=float(said["guidance"]), editing=editing)
        except (ValueError, KeyError, TypeError) as error:
            raise RnriError(f'{path} is damaged: it should read like {{"steps": 30, "guidance"', hint="1.0}") from error

    def write(self, folder: Path) -> None:
        """Leave them in a model's folder, for :meth:`read`."""
        said = {"steps": self.steps, "guidance": self.guidance, "editing": self.editing}
        kept = {name: value for name, value in said.items() if value is not None}
        (folder / SETTINGS).write_text(json.dumps(kept) + "\n")


@dataclass(frozen=True, eq=False)
class Condition:
    """Prompts as the network reads them: `tokens` (P, length, width), one row per prompt.

    `more` is what else it reads of them: pooled embeddings (P, width), masks (P, length) of the tokens that count.
    """

    prompts: tuple[str, ...]
    tokens: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompts)


class Model(Protocol):
    """One family of text-to-image models: deterministic, without state, float32 outside whatever the network's dtype.

    Any number of threads may call it.

    Images are (B, 3, H, W) in [-1, 1], latents (B, C, h, w) of about unit variance.
    """

    name: str
    image_size: tuple[int, int]
    """Height and width in pixels the model was made for."""
    multiple: int
    """Both sides of an image are multiples of this many pixels."""
    max_side: int
    """Neither has more than this many: a network with a table of places has none beyond."""

    @property
    def one_at_a_time(self) -> bool:
        """Whether threads use its networks one after another: they are compiled, offloaded, or keep state."""

    @property
    def device(self) -> torch.device:
        """Where the networks are, and where latents are wanted."""

    @property
    def fingerprint(self) -> str:
        """A digest of the weights: latents of one model mean nothing to another."""

    @property
    def defaults(self) -> Defaults:
        """Steps and guidance where nothing else is asked for."""

    @property
    def guidance(self) -> Guidance:
        """How it follows a prompt harder."""

    @property
    def guidance_threshold(self) -> float:
        """Guidance up to this one is none: the network's output for the prompt alone."""

    def combine(self, conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
        """The guided output from those for the prompt and for the negative prompt, each (B, C, h, w)."""

    def latent_shape(self, image_size: tuple[int, int]) -> tuple[int, int, int]:
        """(C, h, w) of the latent of an image of this height and width."""

    def encode(self, image: Tensor) -> Tensor:
        """Image to latent: the mode of the posterior, scaled; no randomness."""

    def decode(self, latent: Tensor) -> Tensor:
        """Latent to image, clamped to [-1, 1]."""

    def preview(self, latent: Tensor) -> Tensor:
        """Latent to image, clamped to [-1, 1], by a smaller autoencoder where the model has one."""

    def embed(self, prompts: Sequence[str]) -> Condition:
        """Prompts to what the network reads. Warns (`PromptWarning`) of what it cannot read."""

    def unconditional(self, negative: str | None, count: int) -> Condition:
        """What guidance leads away from, in `count` equal rows: a negative prompt, or, with None, nothing."""

    def noise_scale(self, num_steps: int, shape: tuple[int, int, int] | None = None) -> float:
        """What white noise is multiplied by before the first step: the scheduler's `init_noise_sigma`."""

    def schedule(
        self,
        num_steps: int,
        *,
        generator: torch.Generator | None = None,
        strength: float = 1.0,
        shape: tuple[int, int, int] | None = None,
    ) -> Schedule:
        """The model's own sampler as a table of steps, noisy to clean.

        A `strength` below 1 keeps only the last ⌊num_steps · strength⌋ of them. Samplers that add noise draw it here,
        from `generator`, for latents of `shape` (by default those of `image_size`).
        """

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoiser:
        """The network with its prompts bound. One prompt serves a batch of any size, P prompts a batch of P.

        `guidance` is the number that the network reads, where it does.
        """


def is_guided(model: Model, guidance: float) -> bool:
    """Whether classifier-free guidance of this scale takes a second network evaluation, for the negative prompt."""
    return model.guidance == "classifier-free" and guidance > model.guidance_threshold


def guidance_of(model: Model, guidance: float, negative: str | None = None) -> tuple[float, float | None]:
    """(the number that the network reads, the scale of classifier-free guidance, `None` for none).

    Raises ValueError for guidance, or a negative prompt, that a model cannot use; warns where it was likely distilled
    to draw without guidance.
    """
    least = model.guidance_threshold
    if model.guidance == "none" and guidance > least:
        raise RnriError(
            f"guidance={guidance} is not to be had",
            hint=f"{model.name} is distilled; leave it at {least:g}",
            field="guidance",
        )
    if model.guidance != "classifier-free" and negative:
        raise RnriError(f"{model.name} takes no negative prompt", hint=f"leave {negative!r} out")
    if negative and guidance <= least:
        has = f"the negative prompt {negative!r} has no effect at guidance {guidance:g}"
        raise RnriError(f"{has}", hint=f"raise the guidance above {least:g}")
    if guidance > least and not model.defaults.guided:
        warnings.warn(
            f"{model.name} is set up like models distilled to few steps, which draw without guidance: "
            f"leave guidance={guidance:g} at {least:g} unless this one was trained with it",
            GuidanceWarning,
            stacklevel=3,
        )
    return (guidance, None) if model.guidance == "embedded" else (1.0, guidance if is_guided(model, guidance) else None)
