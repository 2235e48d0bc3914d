"""What is edited: an image with its prompt, or a stored inversion."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rnri_core.errors import RnriError

from rnri.cli import outputs
from rnri.cli.groups import naming, option_names, set_fields
from rnri.cli.options import InversionOptions, ModelOptions
from rnri.cli.screen import Tell

if TYPE_CHECKING:
    from rnri_core.inversion.config import InversionConfig
    from rnri_core.inversion.inversion import Inversion
    from torch import Tensor

    from rnri.editing.editor import Editor, Timings

AUTO = "auto"
"""As a source prompt: the caption of the image."""

_LOG = logging.getLogger(__name__)


def is_stored(path: Path) -> bool:
    """Whether a path is that of a stored inversion, by its suffix."""
    return path.suffix.lower() in outputs.STORED


def check(path: Path, prompt: str | None, inversion: InversionOptions, *, paste: bool) -> None:
    """Raise ``RnriError`` for an image without a source prompt, and for options without effect on an inversion."""
    if not is_stored(path):
        if prompt is None:
            raise RnriError("--source is missing", hint=f"describe {path}, or give auto")
        return
    names = ["--source"] * (prompt is not None) + [option_names(inversion)[name] for name in set_fields(inversion)]
    if names:
        raise RnriError(f"{names[0]} has no effect on {path}, which is inverted already", hint="leave it out")
    if paste:
        raise RnriError(f"--paste needs the image itself, and {path} is its inversion", hint="give the image")


def load_inversion(path: Path) -> Inversion:
    """A stored inversion."""
    from rnri_core.inversion.inversion import Inversion

    if not path.exists():
        raise RnriError(f"{path} does not exist", hint="check the path, or make it with 'rnri invert'")
    if path.is_dir():
        raise RnriError(f"{path} is a directory", hint="give a file of 'rnri invert'")
    return Inversion.load(path)


def read_image(path: Path, timings: Timings) -> Tensor:
    """The pixels of an image."""
    from rnri import images

    with timings.measure("encode"):
        return images.read(path)


def describe(prompt: str, pixels: Tensor, model: ModelOptions, captioner: str, tell: Tell) -> str:
    """The prompt itself; for ``auto`` the caption of the image, which is shown."""
    if prompt != AUTO:
        return prompt
    from rnri.editing.captioning import describe

    tell("describing")
    offline = model.loading.local_files_only
    caption = describe(pixels, model.name, captioner=captioner, local_files_only=offline)
    tell(f"it shows: {caption}")
    return caption


def invert(
    editor: Editor, pixels: Tensor, prompt: str, config: InversionConfig, options: InversionOptions, timings: Timings
) -> Inversion:
    """The inversion of an image; errors name the option that is refused."""
    with naming(options):
        inversion = editor.invert(pixels, prompt, config, timings=timings)
    _LOG.info("inverter %s, %d network evaluations", inversion.provenance.inverter, inversion.nfe)
    return inversion
