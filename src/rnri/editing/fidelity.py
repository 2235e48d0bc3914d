"""The fidelity of an inversion: PSNR of its reconstruction, and its largest residual."""

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
    """The reconstruction of an inverted image and its PSNR.

    Attributes:
        picture: the reconstruction.
        reconstruction: its PSNR against the image, in dB; ``None`` where the image is not known.
        autoencoder_bound: that of the autoencoder's own reconstruction.
    """

    picture: Picture
    reconstruction: float | None = None
    autoencoder_bound: float | None = None

    def __str__(self) -> str:
        if self.reconstruction is None or self.autoencoder_bound is None:
            return ""
        return f"{self.reconstruction:.1f} dB of the autoencoder's {self.autoencoder_bound:.1f} dB"


def fidelity(editor: Editor, source: Inversion, pixels: Tensor | None, timings: Timings | None = None) -> Fidelity:
    """Reconstruct the inverted image, and measure its PSNR where its pixels are given."""
    picture = editor.reconstruct(source, timings=timings)
    if pixels is None:
        return Fidelity(picture)
    return Fidelity(picture, decibels(picture, pixels), decibels(editor.autoencoded(source), pixels))


def decibels(picture: Picture, reference: Tensor) -> float:
    """PSNR in dB of a picture as 8-bit pixels."""
    return psnr(images.read(picture), reference.cpu()).item()


def residual(source: Inversion) -> float | None:
    """The largest residual of all steps and images; ``None`` where no equation was solved."""
    return source.residual.max().item() if source.solved else None
