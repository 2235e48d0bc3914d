"""Weights that some metrics need and that are not shipped: where they come from, and how to fetch them.

Measuring downloads nothing by itself; ``rnri bench fetch NAME`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rnri_core import threads
from rnri_core.errors import RnriError

CLIP = "openai/clip-vit-large-patch14"
DINO = "facebook/dino-vitb8"


@dataclass(frozen=True)
class Download:
    """A file, and the beginning of its SHA-256."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """What it is called on the disk: files of two sources may have one name."""
        file = self.url.rpartition("/")[2]
        return f"lpips-{file}" if "/lpips/" in self.url else file


_HEADS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"
_TRUNKS = "https://download.pytorch.org/models"

FILES: Mapping[str, tuple[Download, Download]] = {
    "lpips-squeeze": (
        Download(f"{_TRUNKS}/squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
        Download(f"{_HEADS}/squeeze.pth", "4a5350f23600cb79"),
    ),
    "lpips-alex": (
        Download(f"{_TRUNKS}/alexnet-owt-7be5be79.pth", "7be5be79"),
        Download(f"{_HEADS}/alex.pth", "df73285e35b22355"),
    ),
}
"""Of each trunk of LPIPS: its features, and the learned weights of their channels."""

FETCHED: Mapping[str, str] = {
    "lpips-squeeze": "LPIPS on SqueezeNet, 5 MB",
    "lpips-alex": "LPIPS on AlexNet, 240 MB",
    "clip": f"CLIP ({CLIP}), 1.7 GB",
    "dino": f"DINO ({DINO}), 340 MB",
}
"""What there is to fetch, and how large it is."""


def cache() -> Path:
    """The folder that torch keeps downloaded weights in."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def lpips_files(trunk: str, folder: Path | None = None) -> tuple[Path, Path]:
    """The two files of a trunk; ``RnriError`` with the command that fetches them if one is not there."""
    name = f"lpips-{trunk}"
    features, heads = ((folder or cache()) / each.name for each in FILES[name])
    for path in (features, heads):
        if not path.is_file():
            raise RnriError(f"LPIPS needs {path}, which is not there", hint=f"fetch it with 'rnri bench fetch {name}'")
    return features, heads


def pretrained(name: str, source: str, *loaders: Callable[..., Any]) -> list[Any]:
    """What these ``from_pretrained`` load from a folder, or from what has been fetched of the Hub.

    ``ValueError`` with the command that fetches them if they are not there.
    """
    try:
        with threads.loading():
            return [load(source, local_files_only=True) for load in loaders]
    except (OSError, ValueError) as error:
        cure = "give a folder that holds it"
        if source in (CLIP, DINO):
            cure = f"fetch it with 'rnri bench fetch {name}', or {cure}"
        raise RnriError(f"{name} needs {source}, which is not here", hint=f"{cure}") from error


def fetch(name: str) -> None:
    """Download what ``name``, a key of :data:`FETCHED`, stands for; nothing that is there is downloaded again.

    Raises ``RnriError`` for other names, and if it cannot be had.
    """
    if name not in FETCHED:
        raise RnriError(f"there are no weights {name!r} to fetch", hint=f"use {', '.join(FETCHED)}")
    try:
        if name in FILES:
            cache().mkdir(parents=True, exist_ok=True)
            for each in FILES[name]:
                if not (cache() / each.name).is_file():
                    torch.hub.download_url_to_file(each.url, str(cache() / each.name), each.sha256, progress=False)
        elif name == "clip":
            from transformers import CLIPModel, CLIPTokenizer

            CLIPModel.from_pretrained(CLIP)
            CLIPTokenizer.from_pretrained(CLIP)
        else:
            from transformers import ViTModel

            ViTModel.from_pretrained(DINO, add_pooling_layer=False)
    except (OSError, RuntimeError) as error:
        raise RnriError(f"{name} cannot be fetched", hint=f"{str(error).strip().splitlines()[0]}") from error
