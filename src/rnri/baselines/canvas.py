"""Base of the rival methods: a picture's latents, the model's steps, and a network that counts evaluations."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass

import torch
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.sampling.strength import strength_steps
from torch import Tensor

from rnri.baselines.base import EditMethod, MethodResult
from rnri.editing.editor import Editor
from rnri.images import ImageLike
from rnri.models.base import is_guided

STRENGTH = "share of the steps that is taken, those next to the picture"
"""Description of an option that several methods have."""


@dataclass(eq=False)
class Canvas:
    """One picture that a method edits.

    Attributes:
        clean: its latents (1, C, h, w).
        schedule: the model's steps, noisy to clean.
        source, targets: its prompt, and those of the edits.
        generator: of all noise.
        nfe: network evaluations so far.
    """

    editor: Editor
    clean: Tensor
    schedule: Schedule
    source: str
    targets: list[str]
    generator: torch.Generator
    nfe: int = 0

    def network(self, prompts: list[str], guidance: float | None = None) -> Denoiser:
        """The network bound to prompts, which counts its evaluations; without ``guidance`` there is none."""
        m = self.editor.denoiser(prompts, guidance)
        rows = 2 if guidance is not None and is_guided(self.editor.model, guidance) else 1

        def counted(z: Tensor, t: float) -> Tensor:
            self.nfe += len(z) * rows
            return m(z, t)

        return counted

    def noise(self) -> Tensor:
        """White noise (C, h, w), the same for all targets, drawn on the CPU."""
        return torch.randn(self.clean.shape[1:], generator=self.generator).to(self.clean)

    def part(self, strength: float, *, least: int = 1) -> Schedule:
        """The last ⌊K·strength⌋ of K steps, those next to the picture, but ``least`` or more."""
        count = strength_steps(strength, len(self.schedule), least=least)
        return self.schedule[len(self.schedule) - count :]

    def spread(self, z: Tensor) -> Tensor:
        """Latents (1, C, h, w), once for each target."""
        return z.expand(len(self.targets), -1, -1, -1)


@dataclass(frozen=True)
class Rival(EditMethod):
    """Base of the methods that solve no equation: they follow the steps of the model's own sampler."""

    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> MethodResult:
        begin = time.perf_counter()
        latents, size = editor.encode(image)
        schedule = editor.schedule(latents, steps=self.steps or None, seed=seed)
        canvas = Canvas(editor, latents, schedule, source, targets, torch.Generator().manual_seed(seed))
        own = editor.model.defaults.edit_guidance
        edited = self.draw(canvas, own if self.guidance is None else self.guidance)
        pictures = editor.decode(edited, size=size)
        return MethodResult(pictures=pictures, nfe=canvas.nfe, seconds=time.perf_counter() - begin)

    @abstractmethod
    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        """The latents of the edits, one for each target."""
