"""A source prompt for those who have none: what a picture shows, as its model would say it."""

from __future__ import annotations

from rnri_core.errors import RnriError

from rnri import images
from rnri.images import ImageLike
from rnri.models import EMBEDDED


def describe(image: ImageLike, model: str, *, captioner: str, local_files_only: bool = False) -> str:
    """What a picture shows: read off by the attribute reader for the embedded models, told by a captioner for others.

    ``captioner`` is a BLIP model's folder or Hub id, which is asked unless `local_files_only`. Raises ValueError where
    there is none.

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

    said = Captioner.load(captioner, local_files_only=local_files_only).describe(pixels)
    if not said:
        raise RnriError(f"{captioner} has nothing to say of the picture", hint="say yourself what it shows")
    return said
