"""The options that commands share: names, help and ranges, and how their text is read.

A field of :class:`InversionOptions` or :class:`EditOptions` sets the field of that name of the config. The name of the
option is in its declaration alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import typer
from rnri_core.errors import RnriError

from rnri.cli.groups import naming, option, set_fields
from rnri.models.loading import Loading

if TYPE_CHECKING:
    from rnri_core.inversion.config import InversionConfig

    from rnri.editing.config import EditConfig
    from rnri.editing.editor import Editor, Timings
    from rnri.models.base import Model as LoadedModel

MODEL = "scenes-turbo"
FAITHFUL = "faithful"
"""The inverter whose noise explains the image without noise maps: to mix noise, or to sample it in other steps."""

OWN = "the model's own"
MAX_GUIDANCE, MAX_SEED, MAX_SIDE, MAX_IMAGES = 100.0, 2**63 - 1, 16384, 10_000
SPEC = "NAME[:FIELD=VALUE,…][+…]"


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class WordWeight(NamedTuple):
    """A word of the target prompt, and the factor of its attention."""

    word: str
    weight: float


def size(text: str) -> Size:
    """A size given as WIDTHxHEIGHT.

    >>> size("640x480")
    Size(width=640, height=480)
    """
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(_counts(side) and int(side) <= MAX_SIDE for side in sides):
        raise RnriError(f"{text!r} is not a size", hint=f"give a width and a height up to {MAX_SIDE}, like 640x480")
    return Size(int(sides[0]), int(sides[1]))


def iterations(text: str) -> tuple[int, ...]:
    """Iterations of each step: one number, or several from the image outwards.

    >>> iterations("5,1")
    (5, 1)
    """
    counts = [part.strip() for part in text.split(",")]
    if not all(map(_counts, counts)):
        raise RnriError(f"{text!r} is no number of iterations", hint="give 1 or more for each step, like 2 or 5,1")
    return tuple(map(int, counts))


def positive(text: str) -> float:
    """A finite number above 0.

    >>> positive("1e-3")
    0.001
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RnriError(f"{text} is not accepted", hint="give a number above 0")
    return value


def prompt(text: str) -> str:
    """A prompt that is not empty."""
    if not text.strip():
        raise RnriError(f"{text!r} is empty", hint="describe the image")
    if any(0xD800 <= ord(each) <= 0xDFFF for each in text):  # Python has these for bytes that it cannot decode
        raise RnriError(f"{text!r} is not text in UTF-8", hint="check the encoding of the terminal")
    return text


def word_weight(text: str) -> WordWeight:
    """A word and its weight.

    >>> word_weight("ball=2.0")
    WordWeight(word='ball', weight=2.0)
    """
    word, _, number = text.rpartition("=")
    try:
        weight = WordWeight(word.strip(), float(number))
    except ValueError:
        weight = WordWeight("", 0.0)
    if not weight.word:
        raise RnriError(f"{text!r} is not a word and its weight", hint="give one like ball=2.0")
    return weight


def _counts(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1


Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all noise.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=MAX_IMAGES, help="Number of images.")]
Split = Annotated[Literal["heldout", "tuning"], typer.Option(help="Scenes: held out, or to choose settings by.")]
ResultSize = Annotated[Size | None, typer.Option("--size", parser=size, metavar="WxH", help="Size of the results.")]
Prompt = Annotated[str, typer.Option(parser=prompt, metavar="TEXT", help="Source prompt, or auto.")]
Captioner = Annotated[str, typer.Option(metavar="NAME", help="BLIP model, folder or Hub id, for the prompt auto.")]
CAPTIONER = "Salesforce/blip-image-captioning-base"

Guidance = Annotated[float | None, typer.Option(min=0.0, max=MAX_GUIDANCE, help="Guidance scale.", show_default=OWN)]

MAPS = ("--noise-maps/--no-noise-maps", "--residual-correction/--no-residual-correction")
INVERTER = ("--inverter", "--solver")
_INVERTER = "A preset, a solver or an inverter without a solver: see 'rnri solvers'."
_SCALE = {"min": 0.0, "max": MAX_GUIDANCE}
_GUIDANCE = "Guidance scale; above 1 it mostly takes twice the time."


@dataclass(frozen=True)
class InversionOptions:
    """The settings of an inversion, each by the name of its field in ``InversionConfig``; ``None`` is not set."""

    PANEL: ClassVar[str] = "Inversion"

    inverter: str | None = option(None, _INVERTER, *INVERTER, metavar=SPEC, show_default="auto")
    steps: int | None = option(None, "Sampling steps between noise and image.", min=1, show_default=OWN)
    strength: float | None = option(
        None, "Share of the steps that is inverted and edited.", min=0.0, max=1.0, show_default="1"
    )
    guidance: float | None = option(
        None, "Guidance scale while inverting, best without.", "--source-guidance", **_SCALE, show_default="none"
    )
    iterations: Any = option(
        None,
        "Iterations of each step, or a plan from the image outwards whose last entry repeats.",
        *("--iterations", "--budget"),
        **{"parser": iterations, "metavar": "N[,N…]", "show_default": "the preset's; 2 for a solver"},
    )
    calls: int | None = option(None, "Network evaluations of a preset in all.", min=1, show_default="the preset's")
    tol: float | None = option(
        None, "Residual at which an image stops.", parser=positive, metavar="NUMBER", show_default="all iterations"
    )
    init: Literal["clean", "noised", "predicted", "noised-predicted"] | None = option(
        None, "Initial guess of each step.", show_default="the preset's; clean"
    )
    noise_maps: bool | None = option(
        None, "Store what each step misses, and add it when sampling.", *MAPS, show_default="the preset's; no"
    )
    seed: int | None = option(None, "Seed of all noise.", min=0, max=MAX_SEED, show_default="0")
    resolution: Size | None = option(
        None, "Size at which the network works.", parser=size, metavar="WxH", show_default=f"about {OWN}"
    )

    def config(self, **defaults: Any) -> InversionConfig:
        """The config of the options that were set, over these defaults."""
        from rnri_core.inversion.config import InversionConfig

        with naming(self):
            return InversionConfig(**defaults | set_fields(self))


@dataclass(frozen=True)
class FaithfulInversionOptions(InversionOptions):
    """The same, with the preset ``faithful`` by default."""

    inverter: str | None = option(FAITHFUL, _INVERTER, *INVERTER, metavar=SPEC)


@dataclass(frozen=True)
class SamplingOptions:
    """Guidance of sampling."""

    PANEL: ClassVar[str] = "Sampling"

    guidance: float | None = option(None, _GUIDANCE, **_SCALE, show_default=OWN)
    negative: str | None = option(None, "Negative prompt; it needs guidance.", metavar="TEXT")


@dataclass(frozen=True)
class EditOptions(SamplingOptions):
    """The settings of an edit, each by the name of its field in ``EditConfig``, and what becomes controls."""

    PANEL: ClassVar[str] = "Edit"

    controls: list[str] | None = option(
        None, "See 'rnri controls', or none; repeat it.", "--control", metavar=SPEC, show_default="automatic mask"
    )
    weight: list[WordWeight] | None = option(
        None, "Attention to a target word; repeat it.", parser=word_weight, metavar="WORD=NUMBER"
    )
    mask: Path | None = option(None, "Mask image, white where the edit may change IMAGE.", metavar="FILE")
    steps: int | None = option(
        None, "Steps of the edit, over the whole sampler.", "--edit-steps", min=1, show_default="as many as inverted"
    )

    def config(self) -> EditConfig:
        """The config: controls as named (``none`` for none), then the mask, then the weights of words."""
        from rnri.controls import control
        from rnri.controls.image_mask import ImageMask
        from rnri.controls.reweight import Reweight
        from rnri.editing.config import EditConfig

        if self.mask is not None and not self.mask.is_file():
            raise RnriError(f"--mask {self.mask} is no file", hint="give an image, white where the edit may change it")
        if "none" in (self.controls or ()) and len(self.controls or ()) > 1:
            raise RnriError("--control none and other controls exclude each other", hint="leave one out")
        controls = [control(spec) for spec in self.controls or () if spec != "none"]
        if any(isinstance(each, ImageMask) and each.idle for each in controls):
            raise RnriError("--control mask has no image", hint="give --mask FILE")
        controls += [ImageMask(mask=self.mask)] if self.mask else []
        controls += [Reweight(word=word, weight=weight) for word, weight in self.weight or ()]
        chosen: Any = tuple(controls) if self.controls or controls else "auto"
        with naming(self):
            return EditConfig(self.guidance, self.negative, chosen, self.steps)


@dataclass(frozen=True)
class ModelOptions:
    """Which model is loaded, and how."""

    PANEL: ClassVar[str] = "Model"

    name: str = option(MODEL, "An embedded model, a folder or a Hub id: see 'rnri models'.", "--model", metavar="NAME")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps.", metavar="NAME")
    dtype: Literal["float32", "bfloat16", "float16"] = option("float32", "Precision of the networks.")
    loading: Loading = field(default_factory=Loading)

    def load(self) -> LoadedModel:
        """The model."""
        import torch

        from rnri import models

        return models.load(self.name, device=self.device, dtype=getattr(torch, self.dtype), loading=self.loading)

    def editor(self, timings: Timings, progress: Any) -> Editor:
        """An editor with the model."""
        from rnri.editing.editor import Editor

        progress(f"loading {self.name}")
        with timings.measure("load"):
            return Editor(self.load())

    def check_preview(self, needs: str = "rnri edit --animation") -> None:
        """Raise ``RnriError`` for a preview where none is shown."""
        if self.loading.preview is not None:
            raise RnriError(f"--preview {self.loading.preview} has no effect without {needs}", hint="leave it out")
