"""`rnri demo`: a picture is inverted, drawn again, and edited in three ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnri.cli import inverting, options, outputs, report, screen, values
from rnri.cli.inverting import Inverting, Tell

if TYPE_CHECKING:
    from rnri_core.inversion.inversion import Inversion

    from rnri.editing.editor import Editor, Timings
    from rnri.images import ImageLike, Picture
    from rnri.scenes.edits import Edit

FOLDER = Path("demo")


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Where the pictures go.",
            show_default=f"{FOLDER}, where those of the last time are overwritten",
        ),
    ] = None,
    model: options.Model = options.MODEL,
    solver: options.Solver = None,
    budget: options.Budget = None,
    residual_correction: options.ResidualCorrection = None,
    guidance: options.Guidance = None,
    device: options.Device = "auto",
    force: options.Force = False,
) -> None:
    """Edit an example in three ways.

    A bundled picture is inverted, drawn again and edited, and everything shown side by side on one sheet.
    """
    how = Inverting.read(solver=solver, budget=budget, residual_correction=residual_correction)
    scale, overwrite = values.guidance(guidance), force or output is None
    from rnri.examples import DEMO, EDITS

    folder = output or FOLDER
    names = [f"{name}.png" for name in ("original", "reconstruction", *EDITS, "sheet")]
    paths = outputs.check_folder(folder, names, force=overwrite)
    how.check_solver()

    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import fidelity, residual
    from rnri.scenes.captions import caption
    from rnri.scenes.render import render

    first, again = Timings(), Timings()
    with screen.progress() as tell:
        tell("rendering an example")
        original = images.read(render(DEMO))
        editor = inverting.open_editor(model, device, first, tell)
        tell("inverting")
        found = how.invert(editor, original, caption(DEMO), first)
        tell("reconstructing")
        quality = fidelity(editor, found, original, again)
        results = [_edited(editor, found, name, edit, scale, tell) for name, edit in EDITS.items()]
        sheet = report.sheet(
            original, found.prompt, quality, [(each.name, each.prompt, each.picture) for each in results]
        )
        folder.mkdir(parents=True, exist_ok=True)
        shown: list[ImageLike] = [original, quality.picture, *(each.picture for each in results), sheet]
        for path, image in zip(paths, shown, strict=True):
            images.write(image, path, overwrite=overwrite)
    report.trouble(found)
    calls, steps = report.calls(found.nfe, found.njvp, found.nvjp), len(found.schedule)
    worst = found.status
    screen.table(
        ("", "seconds", "calls", "residual", "PSNR dB"),
        [
            ("autoencoder alone", "", "", "", _decibels(quality.autoencoder_bound)),
            ("inversion", _seconds(first), calls, "" if not found.solved else report.number(residual(found)), ""),
            ("reconstruction", _seconds(again), report.calls(steps), "", _decibels(quality.reconstruction)),
            *((each.name, each.seconds, report.calls(each.nfe), "", _decibels(each.psnr)) for each in results),
        ],
    )
    screen.say("PSNR is to the original; that of an edit, to the true picture of the edited scene.")
    screen.pairs(
        [
            ("model", f"{model}, {steps} steps, loaded in {first.load:.1f} s"),
            ("status", f"{worst.name}: {worst.value}"),
            ("source", found.prompt),
            *((each.name, each.prompt) for each in results),
            ("sheet", str(paths[-1])),
        ]
    )


@dataclass(frozen=True)
class _Edited:
    """One edit: what it is called, what it shows, what it cost, and its PSNR to the truth."""

    name: str
    prompt: str
    picture: Picture
    seconds: str
    nfe: int
    psnr: float


def _edited(editor: Editor, found: Inversion, name: str, edit: Edit, guidance: float | None, tell: Tell) -> _Edited:
    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import decibels
    from rnri.scenes.render import render

    tell(f"editing: {name}")
    timings = Timings()
    result = editor.edit(found, edit.target_prompt, guidance=guidance, timings=timings)
    reached = decibels(result.picture, images.read(render(edit.target)))
    return _Edited(name, edit.target_prompt, result.picture, _seconds(timings), result.nfe, reached)


def _seconds(timings: Timings) -> str:
    """All but loading."""
    return f"{timings.encode + timings.invert + timings.edit + timings.decode:.2f}"


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
