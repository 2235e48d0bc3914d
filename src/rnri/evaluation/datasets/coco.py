"""Pictures with captions, in the layout of COCO (Lin et al. 2014), for reconstruction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnri_core.errors import RnriError

from rnri import images
from rnri.evaluation.datasets.dataset import Dataset, Task, contents, digest
from rnri.evaluation.records import Key


class Coco(Dataset):
    """Pictures of a folder and a JSON file of their captions, ``{"images": […], "annotations": […]}``.

    The first caption of a picture, by its id, is both its source and its target prompt: the task is to reconstruct the
    picture. Raises ``RnriError`` for a file of another layout.
    """

    name = "coco"
    metrics = ("psnr", "ssim", "mse", "lpips-squeeze")
    goal, keep, pixels, rank = None, "lpips-squeeze", "psnr", "psnr"
    bounds = ("autoencoded",)

    def __init__(self, pictures: Path, captions: Path) -> None:
        if not pictures.is_dir():
            raise RnriError(f"{pictures} is no directory", hint="give the one that holds the pictures")
        text = contents(captions, "give COCO's JSON file of captions")
        self.pictures, self._digest, self._name = pictures, digest([text]), captions.name
        self.captioned = _captioned(text, captions)

    @property
    def about(self) -> str:
        """How many pictures there are, and a digest of their captions."""
        return f"{self._name}, {len(self.captioned)} pictures, captions {self._digest}"

    @property
    def keys(self) -> Sequence[Key]:
        """The id of each picture that has a caption, in the order of the file."""
        return list(self.captioned)

    def task(self, key: Key) -> Task:
        """The picture of this id."""
        file, caption = self.captioned[int(key)]
        source = images.read(self.pictures / file)
        return Task(key, source, caption, caption, truth=source)


def _captioned(text: bytes, path: Path) -> dict[int, tuple[str, str]]:
    """File and caption of each picture that has one, by id."""
    try:
        record: dict[str, Any] = json.loads(text)
        captions: dict[int, str] = {}
        for each in sorted(record["annotations"], key=lambda each: each["id"]):
            captions.setdefault(each["image_id"], " ".join(each["caption"].split()))
        files = {each["id"]: each["file_name"] for each in record["images"]}
        pairs = {key: (file, captions[key]) for key, file in files.items() if key in captions}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RnriError(
            f"{path} is not a file of captions",
            hint="it should hold images with id and file_name, and annotations with id, image_id and caption, "
            "as COCO's do",
        ) from error
    if not pairs:
        raise RnriError(f"{path} has no picture with a caption", hint="give COCO's captions_val2017.json or the like")
    return pairs
