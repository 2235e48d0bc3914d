"""`rnri demo`: an example is inverted, reconstructed, and edited in three ways."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from rnri.cli import options, outputs, report, screen, sources
from rnri.cli.options import InversionOptions, ModelOptions, SamplingOptions

if TYPE_CHECKING:
    from rnri_core.inversion.inversion import Inversion

    from rnri.editing.editor import Editor, Timings
    from rnri.editing.fidelity import Fidelity
    from rnri.editing.result import EditResult
    from rnri.images import ImageLike
    from rnri.scenes.edits import Edit

FOLDER = Path("demo")


class _Edited(NamedTuple):
    """One edit: its name, result and cost, and its PSNR to the ground truth."""

    name: str
    result: EditResult
    timings: Timings
    psnr: float


def demo(
    inversion: InversionOptions,
    model: ModelOptions,
    sampling: SamplingOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results.", show_default=str(FOLDER))
    ] = None,
    force: options.Force = False,
) -> None:
    """Edit an example in three ways.

    A rendered scene is inverted, reconstructed and edited, and everything shown side by side on one sheet.
    """
    from rnri.examples import DEMO, EDITS

    folder, overwrite = output or FOLDER, force or output is None
    names = [f"{name}.png" for name in ("original", "reconstruction", *EDITS, "sheet")]
    paths = outputs.check_folder(folder, names, force=overwrite)
    config = inversion.config()

    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import fidelity
    from rnri.scenes.captions import caption
    from rnri.scenes.render import render

    first, again = Timings(), Timings()
    with screen.progress() as tell:
        tell("rendering an example")
        original = images.read(render(DEMO))
        editor = model.editor(first, tell)
        tell("inverting")
        inverted = sources.invert(editor, original, caption(DEMO), config, inversion, first)
        tell("reconstructing")
        quality = fidelity(editor, inverted, original, again)
        results = []
        for name, each in EDITS.items():
            tell(f"editing: {name}")
            results.append(_edited(editor, inverted, name, each, sampling))
        edits = [(each.name, each.result.prompts[0], each.result.picture) for each in results]
        sheet = report.sheet(original, inverted.prompt, quality, edits)
        folder.mkdir(parents=True, exist_ok=True)
        pictures: list[ImageLike] = [original, quality.picture, *(picture for _, _, picture in edits), sheet]
        for path, picture in zip(paths, pictures, strict=True):
            images.write(picture, path, overwrite=overwrite)
    report.warn(inverted)
    _show(inverted, quality, results, first, again)
    screen.pairs(
        [
            ("model", f"{model.name}, {len(inverted.schedule)} steps, loaded in {first.load:.1f} s"),
            ("status", f"{inverted.status.name}: {inverted.status.value}"),
            ("source", inverted.prompt),
            *((name, prompt) for name, prompt, _ in edits),
            ("sheet", str(paths[-1])),
        ]
    )


def _edited(editor: Editor, inverted: Inversion, name: str, edit: Edit, sampling: SamplingOptions) -> _Edited:
    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import decibels
    from rnri.scenes.render import render

    timings = Timings()
    result = editor.edit(inverted, edit.target_prompt, timings=timings, **asdict(sampling))
    psnr = decibels(result.picture, images.read(render(edit.target)))
    return _Edited(name, result, timings, psnr)


def _show(inverted: Inversion, quality: Fidelity, edits: list[_Edited], first: Timings, again: Timings) -> None:
    from rnri.editing.fidelity import residual

    calls = report.calls(inverted.nfe, inverted.njvp, inverted.nvjp)
    error = report.number(residual(inverted)) if inverted.solved else ""
    reconstruction = report.calls(len(inverted.schedule))
    screen.table(
        ("", "seconds", "calls", "residual", "PSNR dB"),
        [
            ("autoencoder alone", "", "", "", _decibels(quality.autoencoder_bound)),
            ("inversion", _seconds(first), calls, error, ""),
            ("reconstruction", _seconds(again), reconstruction, "", _decibels(quality.reconstruction)),
            *(
                (each.name, _seconds(each.timings), report.calls(each.result.nfe), "", _decibels(each.psnr))
                for each in edits
            ),
        ],
    )
    screen.show("PSNR is to the original; that of an edit, to the rendered ground truth.")


def _seconds(timings: Timings) -> str:
    """All but loading."""
    return f"{timings.encode + timings.invert + timings.edit + timings.decode:.2f}"


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
