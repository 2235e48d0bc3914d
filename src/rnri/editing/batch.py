"""Several images inverted in the same network evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.inversion import Inversion

from rnri.editing.editor import Editor, Encoded
from rnri.editing.limits import listed
from rnri.images import ImageLike


def invert_all(
    editor: Editor,
    images: Sequence[ImageLike | Encoded],
    prompts: Sequence[str],
    config: InversionConfig | None = None,
) -> list[Inversion]:
    """Invert several images, each with its own prompt, in one batch: as :meth:`Editor.invert`, in fewer calls.

    Args:
        editor: the editor.
        images: N images, or their :class:`Encoded`, whose latents have one shape; ``config.resolution`` sees to that.
        prompts: N source prompts.
        config: settings of all.

    Returns:
        N inversions of one image each; ``nfe`` counts the network evaluations that had a row of the image.

    Raises:
        RnriError: where the numbers or shapes differ, and as :meth:`Editor.invert` does.
    """
    config = config or InversionConfig()
    if len(images) != len(prompts) or not images:
        raise RnriError(
            f"{len(images)} images and {len(prompts)} prompts", hint="give a prompt for each, and at least one"
        )
    texts = listed(list(prompts))
    encoded = [editor.encode(each, resolution=config.resolution) for each in images]
    for each in encoded:
        if each.latents.shape[1:] != encoded[0].latents.shape[1:]:
            raise RnriError(
                f"images of {encoded[0].size} and {each.size} pixels have latents of different shapes",
                hint="give one resolution for all, or invert them one by one",
            )
    inversion = editor.invert_latents(torch.cat([each.latents for each in encoded]), texts, config)
    pairs = enumerate(zip(texts, encoded, strict=True))
    return [inversion.row(k).described(prompt=prompt, size=each.size) for k, (prompt, each) in pairs]
