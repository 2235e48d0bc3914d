"""What each step of an edit takes its picture to be: the way from noise, looked at by a small autoencoder."""

from __future__ import annotations

from rnri_core.controls.sampling import Sampled
from rnri_core.inversion.inversion import Inversion

from rnri import images
from rnri.images import Picture
from rnri.models.base import Model


def previews(
    model: Model, source: Inversion, sampled: Sampled, *, size: tuple[int, int] | None = None
) -> list[list[Picture]]:
    """A picture for every step that was drawn, noisy to clean, of each prompt, by `Model.preview`.

    They have ``size``, (width, height), or that of the picture that was inverted.
    """
    width, height = size or source.size or (None, None)
    looks, latents = [], sampled.trajectory.latents
    for k, step in enumerate(sampled.trajectory.schedule[sampled.first :], start=sampled.first):
        pixels = model.preview(step.x0_from_step(latents[k], latents[k + 1]))
        looks.append(images.to_pil(images.resize(pixels, (height, width)) if height and width else pixels))
    return [list(way) for way in zip(*looks, strict=True)]
