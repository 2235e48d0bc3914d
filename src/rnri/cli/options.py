"""The options of the commands: their names and their help. Values are read by `rnri.cli.values`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL = "scenes-turbo"
SOLVER = "auto"
FAITHFUL = "faithful"
"""The solver where noise has to explain its picture without corrections: mixed, or sampled in other steps."""

CAPTIONER = "Salesforce/blip-image-captioning-base"

OWN = "the model's own"

Model = Annotated[str, typer.Option(metavar="NAME", help="An embedded model, a folder or a Hub id: see 'rnri models'.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Size = Annotated[str | None, typer.Option(metavar="WxH", help="Size of the results in pixels.", show_default=False)]
Resolution = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        help="What the network works at, in multiples it takes; results keep the size of IMAGE.",
        show_default="about the model's own",
    ),
]
Guidance = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="How hard results follow their prompt: mostly active above 1, and then twice the time.",
        show_default=OWN,
    ),
]
SourceGuidance = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="Guidance of the inversion: none inverts best.", show_default="none"),
]
Negative = Annotated[str | None, typer.Option(metavar="TEXT", help="What is not wanted: needs guidance.")]
Steps = Annotated[str | None, typer.Option(metavar="N", help="Steps between noise and picture.", show_default=OWN)]
EditSteps = Annotated[
    str | None,
    typer.Option(metavar="N", help="Steps of the edit, of the whole way.", show_default="as many as inverted"),
]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Of all noise that is drawn.", show_default="0")]
Solver = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:FIELD=VALUE,…][+…]",
        help="How it is inverted: a preset or a solver, see 'rnri solvers'.",
        show_default=SOLVER,
    ),
]
NoiseSolver = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:FIELD=VALUE,…][+…]",
        help="How noise is found: a preset or a solver, see 'rnri solvers'.",
        show_default=FAITHFUL,
    ),
]
Strength = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="The part of the steps to invert: less changes less.", show_default="1"),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="N[,N…]",
        help="Iterations per step, or a plan from the picture outwards whose last entry repeats.",
        show_default="the preset's; 2 for a solver",
    ),
]
Tol = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="Residual at which a step is good enough.", show_default="spend the budget"),
]
ResidualCorrection = Annotated[
    bool | None,
    typer.Option(
        "--residual-correction/--no-residual-correction",
        help="Keep what each step misses and add it when sampling.",
        show_default="the preset's; no for a solver",
    ),
]
Control = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:FIELD=VALUE,…]",
        help="A control of the edit: see 'rnri controls'; repeat it for several. none: not even the default one.",
    ),
]
Weight = Annotated[
    list[str] | None,
    typer.Option(metavar="WORD=NUMBER", help="How much a word of the target counts: 1 is as it is; repeat it."),
]
Mask = Annotated[Path | None, typer.Option(metavar="FILE", help="A picture, white where the edit may change IMAGE.")]
Paste = Annotated[
    bool, typer.Option("--paste", help="Where a mask or control keeps IMAGE, put back its own pixels, to the bit.")
]
Captioner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Who describes a photo: a BLIP model's folder or Hub id.", show_default=CAPTIONER
    ),
]
