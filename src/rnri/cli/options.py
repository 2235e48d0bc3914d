"""The options that commands share: names, help and ranges, and how their text is read.

The groups are named as the configs: each field of :class:`InversionOptions` and :class:`EditOptions` that a config has
sets the field of that name. Their tables of names is the declaration of the option itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import typer
from rnri_core.errors import RnriError

from rnri.cli.groups import given, naming
from rnri.load_options import Loading

if TYPE_CHECKING:
    from rnri_core.inversion.config import InversionConfig

    from rnri.editing.config import EditConfig
    from rnri.editing.editor import Editor, Timings
    from rnri.models.base import Model as LoadedModel

MODEL = "scenes-turbo"
FAITHFUL = "faithful"
"""The inverter whose noise explains the image without noise maps: to mix noise, or to sample it in other steps."""

OWN = "the model's own"
EMBEDDED_MODELS = "all embedded ones"
MAX_GUIDANCE, MAX_SEED, MAX_SIDE, MAX_IMAGES = 100.0, 2**63 - 1, 16384, 10_000
SPEC = "NAME[:FIELD=VALUE,…]"


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


Model = Annotated[str, typer.Option(metavar="NAME", help="An embedded model, a folder or a Hub id: see 'rnri models'.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME…", help="Models or folders.", show_default=EMBEDDED_MODELS),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Guidance = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=MAX_GUIDANCE,
        metavar="NUMBER",
        help="Guidance scale; above 1 it mostly takes twice the time.",
        show_default=OWN,
    ),
]
Negative = Annotated[str | None, typer.Option(metavar="TEXT", help="Negative prompt; it needs guidance.")]
Steps = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Sampling steps between noise and image.", show_default=OWN)
]
StepsList = Annotated[list[int] | None, typer.Option("--steps", min=1, metavar="N…", show_default="4 20")]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of all noise.")]
ResultSize = Annotated[
    Size | None,
    typer.Option("--size", parser=size, metavar="WxH", help="Size of the results in pixels.", show_default=False),
]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=MAX_IMAGES, metavar="N", help="Number of images.")]
Split = Annotated[Literal["heldout", "tuning"], typer.Option(help="Scenes: held out, or to choose settings by.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Number of images.")]
Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of measurements and report.")]
Captioner = Annotated[
    str,
    typer.Option(metavar="NAME", help="BLIP model, folder or Hub id, that captions the image for the prompt auto."),
]
CAPTIONER = "Salesforce/blip-image-captioning-base"



def load_all(names: list[str] | None, device: str, **how: Any) -> dict[str, LoadedModel]:
    """The models of these names, all embedded ones by default."""
    from rnri import models

    return {name: models.load(name, device=device, **how) for name in names or list(models.EMBEDDED)}


_INVERTER = f"{SPEC}[+…]"
_INVERTER_HELP = "Inverter: a preset, a solver or an inverter without a solver, see 'rnri solvers'."


@dataclass(frozen=True)
class InversionOptions:
    """The settings of an inversion, each by the name of its field in ``InversionConfig``; ``None`` is not given."""

    PANEL: ClassVar[str] = "Inversion"

    inverter: Annotated[
        str | None,
        typer.Option("--inverter", "--solver", metavar=_INVERTER, help=_INVERTER_HELP, show_default="auto"),
    ] = None
    steps: Steps = None
    strength: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, metavar="NUMBER", help="Share of the steps that is inverted and edited.", show_default="1"
        ),
    ] = None
    guidance: Annotated[
        float | None,
        typer.Option(
            "--source-guidance",
            min=0.0,
            max=MAX_GUIDANCE,
            metavar="NUMBER",
            help="Guidance scale of the inversion, which is most accurate without.",
            show_default="none",
        ),
    ] = None
    iterations: Annotated[
        Any,
        typer.Option(
            "--iterations",
            "--budget",
            parser=iterations,
            metavar="N[,N…]",
            help="Iterations of each step, or a plan from the image outwards whose last entry repeats.",
            show_default="the preset's; 2 for a solver",
        ),
    ] = None
    calls: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Network evaluations of a preset in all.", show_default="the preset's"),
    ] = None
    tol: Annotated[
        float | None,
        typer.Option(
            parser=positive,
            metavar="NUMBER",
            help="Residual at which an image stops iterating.",
            show_default="all iterations",
        ),
    ] = None
    init: Annotated[
        Literal["clean", "noised", "predicted", "noised-predicted"] | None,
        typer.Option(help="Initial guess of each step.", show_default="the preset's; clean"),
    ] = None
    noise_maps: Annotated[
        bool | None,
        typer.Option(
            "--noise-maps/--no-noise-maps",
            "--residual-correction/--no-residual-correction",
            help="Store what each step misses, and add it when sampling.",
            show_default="the preset's; no for a solver",
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of all noise.", show_default="0"),
    ] = None
    resolution: Annotated[
        Size | None,
        typer.Option(
            parser=size,
            metavar="WxH",
            help="Size at which the network works, in multiples that it takes; results have the size of IMAGE.",
            show_default="about the model's own",
        ),
    ] = None

    def config(self, **defaults: Any) -> InversionConfig:
        """The config of the options that were given, over these defaults."""
        from rnri_core.inversion.config import InversionConfig

        with naming(self):
            return InversionConfig(**defaults | given(self))


@dataclass(frozen=True)
class FaithfulInversionOptions(InversionOptions):
    """The same, with the preset ``faithful`` by default."""

    inverter: Annotated[
        str | None,
        typer.Option("--inverter", "--solver", metavar=_INVERTER, help=_INVERTER_HELP, show_default=FAITHFUL),
    ] = FAITHFUL


@dataclass(frozen=True)
class EditOptions:
    """The settings of an edit, each by the name of its field in ``EditConfig``, and what becomes controls."""

    PANEL: ClassVar[str] = "Edit"

    guidance: Guidance = None
    negative: Negative = None
    controls: Annotated[
        list[str] | None,
        typer.Option(
            "--control",
            metavar=SPEC,
            help="Control of the edit, see 'rnri controls'; repeat it for several.",
            show_default="the automatic mask, with noise maps",
        ),
    ] = None
    weight: Annotated[
        list[WordWeight] | None,
        typer.Option(parser=word_weight, metavar="WORD=NUMBER", help="Attention to a target word; repeat it."),
    ] = None
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Mask image, white where the edit may change IMAGE.")
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(
            "--edit-steps",
            min=1,
            metavar="N",
            help="Steps of the edit, counted over the whole sampler.",
            show_default="as many as inverted",
        ),
    ] = None

    def config(self) -> EditConfig:
        """The config: controls as named, then the mask, then the weights of words."""
        from rnri.controls import control
        from rnri.controls.keep import Keep
        from rnri.controls.reweight import Reweight
        from rnri.editing.config import EditConfig

        if self.mask is not None and not self.mask.is_file():
            raise RnriError(f"--mask {self.mask} is no file", hint="give an image, white where the edit may change it")
        controls = [control(spec) for spec in self.controls or ()]
        controls += [Keep(mask=self.mask)] if self.mask else []
        controls += [Reweight(word=word, weight=weight) for word, weight in self.weight or ()]
        with naming(self):
            return EditConfig(self.guidance, self.negative, tuple(controls) or "auto", self.steps)


@dataclass(frozen=True)
class ModelOptions:
    """Which model is loaded, and how."""

    PANEL: ClassVar[str] = "Model"

    name: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="An embedded model, a folder or a Hub id: see 'rnri models'."),
    ] = MODEL
    device: Device = "auto"
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Precision of the networks.")
    ] = "float32"
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
