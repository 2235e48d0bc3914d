"""What the rival methods share: a picture's latents, the model's steps, and a network that counts."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass

import torch
from rnri_core.registry import option
from rnri_core.sampling.steps import Denoiser, Schedule
from torch import Tensor

from rnri.baselines.base import Edited, EditMethod
from rnri.editing.editor import Editor
from rnri.images import ImageLike
from rnri.models.base import is_guided


@dataclass(eq=False)
class Canvas:
    """One picture on its way through a method: ``clean`` are its latents (1, C, h, w), ``nfe`` counts evaluations."""

    editor: Editor
    clean: Tensor
    schedule: Schedule
    source: str
    targets: list[str]
    generator: torch.Generator
    nfe: int = 0

    def network(self, prompts: list[str], guidance: float | None = None) -> Denoiser:
        """The network told these prompts, each evaluation counted; without ``guidance`` there is none."""
        m = self.editor.denoiser(prompts, guidance)
        rows = 2 if guidance is not None and is_guided(self.editor.model, guidance) else 1

        def counted(z: Tensor, t: float) -> Tensor:
            self.nfe += len(z) * rows
            return m(z, t)

        return counted

    def noise(self) -> Tensor:
        """White noise (C, h, w), drawn on the CPU, for all targets the same."""
        return torch.randn(self.clean.shape[1:], generator=self.generator).to(self.clean)

    def spread(self, z: Tensor) -> Tensor:
        """Latents (1, C, h, w), once for each target."""
        return z.expand(len(self.targets), -1, -1, -1)


@dataclass(frozen=True)
class Rival(EditMethod):
    """Base of the methods that solve no equation: steps of the model's own sampler, and a way through them."""

    steps: int = option(0, "steps between noise and picture, 0 for the model's own number", low=0)
    guidance: float | None = option(
        None, "how hard the edit follows its prompt; the model's own if not given", low=0.0, high=100.0
    )

    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> Edited:
        begin = time.perf_counter()
        latents, size = editor.encode(image)
        schedule = editor.schedule(latents, steps=self.steps or None, seed=seed)
        canvas = Canvas(editor, latents, schedule, source, targets, torch.Generator().manual_seed(seed))
        own = editor.model.defaults.edit_guidance
        drawn = self.draw(canvas, own if self.guidance is None else self.guidance)
        pictures = editor.decode(drawn, size=size)
        return Edited(pictures, canvas.nfe, 0, 0, time.perf_counter() - begin, residual=None, status="NOT_SOLVED")

    @abstractmethod
    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        """The latents of the edits, one for each target."""
