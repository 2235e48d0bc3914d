"""Captions as source prompts."""

from __future__ import annotations

from rnri_core.errors import RnriError

from rnri import images
from rnri.images import ImageLike
from rnri.models import EMBEDDED


def describe(image: ImageLike, model: str, *, captioner: str, local_files_only: bool = False) -> str:
    """The caption of an image: by the attribute reader for the embedded models, by a BLIP captioner for others.

    Args:
        image: the image.
        model: name of the model that is to invert it.
        captioner: folder or Hub id of a BLIP model.
        local_files_only: whether the Hub is not asked.

    Raises:
        RnriError: where the captioner cannot be loaded, or gives no caption.

    >>> from rnri.scenes.render import render
    >>> from rnri.scenes.scene import Item, Scene
    >>> scene = Scene((Item("cone", "red", "matte", "large"), None, None), "snow", "day")
    >>> describe(render(scene), "scenes-turbo", captioner="")
    'a large red matte cone on the left, on snow, by day'
    """
    pixels = images.read(image)
    if model in EMBEDDED:
        from rnri.scenes.reader import Reader

        return Reader.load().describe(pixels)
    from rnri.models.captioner import Captioner

    caption = Captioner.load(captioner, local_files_only=local_files_only).describe(pixels)
    if not caption:
        raise RnriError(f"{captioner} gives no caption for the image", hint="give a source prompt")
    return caption
