"""The protocol of a text-to-image model: images to latents and back, prompts, a schedule, a denoiser."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Denoiser, Schedule
from torch import Tensor

from rnri.models.defaults import Defaults

MAX_SIDE = 16384
"""Pixels along one side of an image, at most."""

Guidance = Literal["classifier-free", "embedded", "none"]
"""How a network is guided: by a second call for a negative prompt, by a number that it reads, or, distilled, not."""


class GuidanceWarning(UserWarning):
    """Guidance is given to a model whose settings are those of networks distilled to sample without it."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Embedded prompts, one row for each.

    Attributes:
        prompts: the P prompts.
        tokens: embeddings of their tokens, (P, length, width).
        more: whatever else the network reads, such as pooled embeddings (P, width) or masks (P, length) of the tokens
            that count.
    """

    prompts: tuple[str, ...]
    tokens: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompts)


class Model(Protocol):
    """A text-to-image model as the editor uses it; every member that is read of a model is declared here.

    It is deterministic and keeps no state; any number of threads may call it. Images are (B, 3, H, W) in [-1, 1],
    latents (B, C, h, w) of about unit variance, both float32 whatever the precision of the networks.
    :class:`rnri.models.adapter.ModelAdapter` implements it for pipelines of diffusers.
    """

    name: str
    image_size: tuple[int, int]
    """Height and width, in pixels, of the images that the model was trained on."""
    multiple: int
    """Both sides of an image are multiples of this many pixels."""
    max_side: int
    """Pixels along one side at most; networks with a table of positions have none beyond."""
    words: Set[str]
    """The words of the model's vocabulary; empty where any word is read."""
    replayed: bool
    """Whether network outputs share one memory, as those of CUDA graphs do."""

    @property
    def unet(self) -> Any:
        """The UNet of diffusers whose attention can be hooked; `None` where the network is no UNet."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that marks where words end, as CLIP's does; `None` where there is none."""

    @property
    def one_at_a_time(self) -> bool:
        """Whether threads use its networks one after another: they are compiled, offloaded, or keep state."""

    @property
    def device(self) -> torch.device:
        """Where the networks run, and where latents are wanted."""

    @property
    def fingerprint(self) -> str:
        """A digest of the weights: latents of one model mean nothing to another."""

    @property
    def defaults(self) -> Defaults:
        """Steps and guidance where a call gives none."""

    @property
    def guidance(self) -> Guidance:
        """How the network is guided."""

    @property
    def guidance_threshold(self) -> float:
        """Up to this guidance scale the output for the prompt is used as it is."""

    def combine(self, conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
        """Combine network outputs to the guided one, mostly base + guidance·(conditional − base).

        Models that rescale or normalise the guided output do it here. Every guided prediction of inversions, edits and
        baselines comes from this call.

        Args:
            conditional: the output for the prompt, (B, C, h, w).
            base: the output for the negative prompt, (B, C, h, w).
            guidance: the guidance scale, above :attr:`guidance_threshold`.

        Returns:
            The guided output, (B, C, h, w).
        """

    def latent_shape(self, image_size: tuple[int, int]) -> tuple[int, int, int]:
        """(C, h, w) of the latents of an image of this height and width in pixels."""

    def encode(self, image: Tensor) -> Tensor:
        """Images to latents: the mode of the posterior, scaled; no randomness."""

    def decode(self, latent: Tensor) -> Tensor:
        """Latents to images, clamped to [-1, 1]."""

    def preview(self, latent: Tensor) -> Tensor:
        """Latents to images, clamped to [-1, 1], by a smaller autoencoder where the model has one."""

    def embed(self, prompts: Sequence[str]) -> Condition:
        """Embed prompts; warns (`PromptWarning`) of what does not reach the network."""

    def unconditional(self, negative: str | None, count: int) -> Condition:
        """The embedded negative prompt in `count` equal rows; `None` for none, mostly read as an empty one."""

    def noise_scale(self, num_steps: int, shape: tuple[int, int, int] | None = None) -> float:
        """The factor of white noise before the first step: the scheduler's `init_noise_sigma`."""

    def schedule(
        self,
        num_steps: int,
        *,
        generator: torch.Generator | None = None,
        strength: float = 1.0,
        shape: tuple[int, int, int] | None = None,
    ) -> Schedule:
        """The model's sampler as a table of steps, noisy to clean.

        Args:
            num_steps: number of steps of the whole schedule, from 1.
            generator: source of the noise of samplers that add some.
            strength: in (0, 1]; below 1 only the last ⌊num_steps · strength⌋ steps are kept.
            shape: (C, h, w) of the latents; those of `image_size` by default.

        Raises:
            RnriError: for values out of range, and for stochastic samplers without a generator.
        """

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoiser:
        """The network bound to prompts: (latents (B, C, h, w), timestep) → network output (B, C, h, w).

        One prompt serves a batch of any size, P prompts a batch of P. `guidance` is the number that the network reads,
        where it reads one.
        """


def is_guided(model: Model, guidance: float) -> bool:
    """Whether classifier-free guidance of this scale takes a second network evaluation, for the negative prompt."""
    return model.guidance == "classifier-free" and guidance > model.guidance_threshold


def guidance_of(model: Model, guidance: float, negative: str | None = None) -> tuple[float, float | None]:
    """Split a guidance scale by how the model is guided.

    Args:
        model: the model that is sampled.
        guidance: the guidance scale, at least 0.
        negative: the negative prompt, if there is one.

    Returns:
        The number that the network reads, and the scale of classifier-free guidance, `None` for none.

    Raises:
        RnriError: for guidance, or a negative prompt, that the model cannot use.

    Warns:
        GuidanceWarning: where the model was likely distilled to sample without guidance.
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
        problem = f"the negative prompt {negative!r} has no effect at guidance {guidance:g}"
        raise RnriError(problem, hint=f"raise the guidance above {least:g}")
    if guidance > least and not model.defaults.guided:
        warnings.warn(
            f"{model.name} is set up like models distilled to few steps, which sample without guidance: "
            f"leave guidance={guidance:g} at {least:g} unless this one was trained with it",
            GuidanceWarning,
            stacklevel=3,
        )
    return (guidance, None) if model.guidance == "embedded" else (1.0, guidance if is_guided(model, guidance) else None)
