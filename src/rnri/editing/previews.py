"""Previews: the x₀ prediction of each step of an edit, decoded by a small autoencoder."""

from __future__ import annotations

from rnri_core.controls.sampling import Sampled
from rnri_core.inversion.inversion import Inversion

from rnri import images
from rnri.images import Picture
from rnri.models.base import Model


def previews(
    model: Model, source: Inversion, sampled: Sampled, *, size: tuple[int, int] | None = None
) -> list[list[Picture]]:
    """For each prompt, the x₀ predictions of the sampled steps, noisy to clean, decoded by :meth:`Model.preview`.

    Args:
        model: the model of the edit.
        source: the inversion that was edited.
        sampled: the edit.
        size: (width, height) in pixels; that of the image that was inverted.
    """
    width, height = size or source.size or (None, None)
    steps, latents = [], sampled.trajectory.latents
    for k, step in enumerate(sampled.trajectory.schedule[sampled.first :], start=sampled.first):
        pixels = model.preview(step.x0_from_step(latents[k], latents[k + 1]))
        steps.append(images.to_pil(images.resize(pixels, (height, width)) if height and width else pixels))
    return [list(frames) for frames in zip(*steps, strict=True)]
