"""Interpolation between two inverted images, and new images around several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion, sample
from rnri_core.sampling.noise_paths import PathName, centroid, path

from rnri.controls.conditions import between
from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.editing.limits import generator
from rnri.images import Picture


def interpolate(
    editor: Editor, one: Inversion, other: Inversion, count: int, *, by: PathName = "nao"
) -> Iterator[Picture]:
    """Images from one inverted image to another, whose ends are their reconstructions.

    Args:
        editor: the editor that inverted both.
        one: the inversion at the start.
        other: the inversion at the end.
        count: number of images, at least 2.
        by: the path of the noise; conditioning and noise maps are interpolated linearly.

    Raises:
        RnriError: unless both were inverted by the same model in the same steps and size, by a solver.
    """
    if count < 2:
        raise RnriError(f"count={count} is out of range", hint="give at least 2", field="count")
    _check_alike([one, other])
    model = editor.model
    shares = [n / (count - 1) for n in range(count)]
    begin, end = (model.embed([each.prompt]) for each in (one, other))
    for share, noise in zip(shares, path(by, one.noise, other.noise, shares), strict=True):
        noise_maps = None
        if one.noise_maps is not None and other.noise_maps is not None:
            noise_maps = [a.lerp(b, share) for a, b in zip(one.noise_maps, other.noise_maps, strict=True)]
        m = model.denoiser(between(begin, end, share))
        latents = sample(m, one.schedule, noise.to(model.device), noise_maps=noise_maps)
        yield editor.decode(latents, size=one.size)[0]


def concept(
    editor: Editor,
    references: Sequence[Inversion],
    prompt: str,
    count: int,
    *,
    variety: float = 0.3,
    guidance: float | None = None,
    seed: int = 0,
) -> Iterator[Picture]:
    """New images of a concept that inverted references show, sampled around the centroid of their noise.

    The first is sampled from the centroid (Samuel et al., NeurIPS 2023), each other from a point of the norm-aware path
    from it to fresh noise.

    Args:
        editor: the editor that inverted them.
        references: inversions, at least one.
        prompt: the target prompt.
        count: number of images.
        variety: share of that path, from 0, where all are the same, to 1, where the references have no influence.
        guidance: guidance scale; the model's own for edits.
        seed: the n-th image has noise of seed + n.

    Raises:
        RnriError: as :func:`interpolate`, and for a variety out of range.
    """
    if not references:
        raise RnriError("there is no reference image", hint="give at least one inversion", field="references")
    if not 0 <= variety <= 1:
        raise RnriError(
            f"variety={variety} is out of range",
            hint="give 0 for the centroid to 1 for fresh noise",
            field="variety",
        )
    _check_alike(references)
    middle = centroid([each.noise for each in references])
    first, config = references[0], EditConfig(guidance=guidance, controls=())
    for n in range(count):
        noise = middle
        if n:
            fresh = torch.randn(middle.shape, generator=generator(seed + n)).to(middle)
            (noise,) = path("nao", middle, fresh, [variety])
        yield editor.from_noise(first.schedule, noise, prompt, config, size=first.size)


def _check_alike(inversions: Sequence[Inversion]) -> None:
    first = inversions[0]
    for each in inversions:
        if not each.solved:
            raise RnriError(
                "noise sampled independently of the image has no source structure",
                hint="invert with inverter='faithful'",
            )
        if each.model != first.model:
            raise RnriError(
                f"the images were inverted by different models, {first.model} and {each.model}",
                hint="invert them by one",
            )
        tables = [[(step.t, step.a) for step in of.schedule] for of in (first, each)]
        if tables[0] != tables[1] or first.noise.shape != each.noise.shape:
            raise RnriError("the images were inverted in different steps or sizes", hint="invert them with one config")
