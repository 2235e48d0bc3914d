"""How good an inversion is: what its reconstruction is worth, and how its worst step ended."""

from __future__ import annotations

from dataclasses import dataclass

from rnri_core.inversion.inversion import Inversion
from torch import Tensor

from rnri import images
from rnri.editing.editor import Editor, Timings
from rnri.images import Picture
from rnri.metrics import psnr


@dataclass(frozen=True)
class Fidelity:
    """The reconstruction, and how close in dB it and the autoencoder alone come to the picture; None if unknown."""

    picture: Picture
    reconstruction: float | None = None
    autoencoder_bound: float | None = None

    def __str__(self) -> str:
        if self.reconstruction is None or self.autoencoder_bound is None:
            return ""
        return f"{self.reconstruction:.1f} dB of the autoencoder's {self.autoencoder_bound:.1f} dB"


def fidelity(editor: Editor, source: Inversion, pixels: Tensor | None, timings: Timings | None = None) -> Fidelity:
    """Draw the inverted picture again, and compare with it where its pixels are at hand."""
    picture = editor.reconstruct(source, timings=timings)
    if pixels is None:
        return Fidelity(picture)
    return Fidelity(picture, decibels(picture, pixels), decibels(editor.autoencoded(source), pixels))


def decibels(picture: Picture, reference: Tensor) -> float:
    """PSNR of a picture, as it would be saved."""
    return psnr(images.read(picture), reference.cpu()).item()


def residual(source: Inversion) -> float | None:
    """The largest of all steps and images; ``None`` where no equation was solved."""
    return source.residual.max().item() if source.solved else None
