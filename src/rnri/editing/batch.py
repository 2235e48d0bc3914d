"""Several pictures inverted in the same network calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion
from rnri_core.inversion.presets import plan

from rnri.editing.editor import Editor, Encoded
from rnri.images import ImageLike
from rnri.limits import check_guidance, listed
from rnri.threads import running


def invert_all(
    editor: Editor,
    images: Sequence[ImageLike | Encoded],
    prompts: Sequence[str],
    *,
    resolution: tuple[int, int] | None = None,
    solver: str = "auto",
    steps: int | None = None,
    strength: float = 1.0,
    guidance: float | None = None,
    tol: float | None = None,
    seed: int = 0,
) -> list[Inversion]:
    """`Editor.invert` of each picture with its own prompt, all in one batch: the same inversions, in fewer calls.

    ``nfe`` of each counts the calls it had a row in. Pictures may differ in size, not in the shape their latents take,
    which one ``resolution`` for all makes sure of. Raises ValueError where they do, unless there is a prompt for each,
    and for what `Editor.invert` refuses.
    """
    if len(images) != len(prompts) or not images:
        raise RnriError(
            f"{len(images)} pictures and {len(prompts)} prompts", hint="give a prompt for each, and at least one"
        )
    texts = listed(list(prompts))
    guidance = editor.model.guidance_threshold if guidance is None else guidance
    check_guidance(guidance)
    encoded = [editor.encode(each, resolution=resolution) for each in images]
    for each in encoded:
        if each.latents.shape[1:] != encoded[0].latents.shape[1:]:
            raise RnriError(
                f"pictures of {encoded[0].size} and {each.size} pixels take latents of other shapes",
                hint="give one resolution for all, or invert them one by one",
            )
    latents = torch.cat([each.latents for each in encoded]).to(editor.model.device)
    with running(alone=editor.model.one_at_a_time):
        schedule = editor.schedule(latents, steps=steps, strength=strength, seed=seed)
        denoiser = editor.denoiser(texts, guidance)
        whole = plan(solver, schedule, tol=tol).invert(denoiser, schedule, latents, tol=tol, seed=seed)
    named = replace(whole, model=editor.model.fingerprint, guidance=guidance)
    return [
        replace(_row(named, k), prompt=prompt, size=each.size)
        for k, (prompt, each) in enumerate(zip(texts, encoded, strict=True))
    ]


def _row(whole: Inversion, k: int) -> Inversion:
    """The inversion of the k-th picture of a batch."""
    row = slice(k, k + 1)
    solutions = tuple(
        replace(
            each, z=each.z[row], residual=each.residual[row], residuals=each.residuals[:, row], codes=each.codes[row]
        )
        for each in whole.solutions
    )
    corrections = whole.noise_maps and tuple(delta[row] for delta in whole.noise_maps)
    return replace(whole, latents=tuple(z[row] for z in whole.latents), solutions=solutions, noise_maps=corrections)
