"""From one inverted picture to another, and from several of a kind to new ones."""

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
    """``count`` pictures from one inverted picture to another, both ends as they are reconstructed.

    Noise goes along the path ``by``; prompts, as the network reads them, guidance and corrections in a straight line.
    Raises ValueError unless both were inverted by the same model in the same steps, and solved for.
    """
    if count < 2:
        raise RnriError(f"{count} pictures are no way from one to another", hint="give 2 or more")
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
    """``count`` new pictures of what a few inverted references show: sampled from around the centroid of their noise.

    The first is the centroid's own, each other a share ``variety`` of the norm-aware path on to fresh noise (Samuel et
    al., NeurIPS 2023). At 0 all are alike, at 1 the references are forgotten. Raises ValueError as `interpolate` does.
    """
    if not references:
        raise RnriError("a concept of no pictures", hint="give at least one reference")
    if not 0 <= variety <= 1:
        raise RnriError(
            f"variety={variety} is out of range",
            hint="give 0 for the centroid alone to 1 for fresh noise",
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
            raise RnriError(f"pictures inverted by models {first.model} and {each.model} have nothing between them")
        ways = [[(step.t, step.a) for step in of.schedule] for of in (first, each)]
        if ways[0] != ways[1] or first.noise.shape != each.noise.shape:
            raise RnriError(
                "pictures inverted in other steps or sizes have nothing between them", hint="invert them alike"
            )
