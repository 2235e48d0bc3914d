"""What each step of an edit takes its picture to be: the way from noise, looked at by a small autoencoder."""

from __future__ import annotations

from torch import Tensor

from rnri import images
from rnri.editing import Drawn
from rnri.images import Picture
from rnri.inversion import Inversion
from rnri.models.base import Model
from rnri.schedule import Step


def believed(step: Step, z: Tensor, z_clean: Tensor) -> Tensor:
    """The latents (B, C, h, w) without noise that a step from ``z`` to ``z_clean`` leads to; no network call.

    Where z = α·x + σ·ε and z_clean − c = α′·x + σ′·ε, x = (σ·(z_clean − c) − σ′·z) / (σ·α′ − σ′·α).

    >>> import torch
    >>> step = Step(t=500, a=1.0, b=-0.5, c=None, scale=1.0, levels=(0.8, 0.6, 0.96, 0.28))
    >>> x, noise = torch.ones(1), torch.tensor([2.0])
    >>> round(believed(step, 0.8 * x + 0.6 * noise, 0.96 * x + 0.28 * noise).item(), 4)
    1.0
    """
    alpha, sigma, alpha_clean, sigma_clean = step.levels
    end = z_clean if step.c is None else z_clean - step.c.to(z_clean)
    return (sigma * end - sigma_clean * z) / (sigma * alpha_clean - sigma_clean * alpha)


def previews(
    model: Model, source: Inversion, drawn: Drawn, *, size: tuple[int, int] | None = None
) -> list[list[Picture]]:
    """A picture for every step that was drawn, noisy to clean, of each prompt, by `Model.preview`.

    They have ``size``, (width, height), or that of the picture that was inverted.
    """
    width, height = size or source.size or (None, None)
    looks = []
    for k, step in enumerate(source.schedule[drawn.first :], start=drawn.first):
        pixels = model.preview(believed(step, drawn.latents[k], drawn.latents[k + 1]))
        looks.append(images.to_pil(images.resize(pixels, (height, width)) if height and width else pixels))
    return [list(way) for way in zip(*looks, strict=True)]
