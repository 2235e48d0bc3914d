"""`rnri edit` and `rnri invert`: from a picture, or its stored inversion, to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import inverting, options, outputs, report, screen, steering, values
from rnri.cli.inverting import Inverting
from rnri.cli.loading import Asked, loads_a_model


@loads_a_model
def edit(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="PNG, JPEG or WebP, or a FILE.safetensors of 'rnri invert'.")
    ],
    target: Annotated[
        list[str], typer.Option(metavar="TEXT", help="What the result shows; repeat it for several results.")
    ],
    source: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What IMAGE shows, or auto; a stored inversion knows.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the result goes; of several, OUT.png is OUT-1.png, OUT-2.png and so on.",
            show_default="IMAGE-edited.png, in this directory",
        ),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where original, reconstruction and results go side by side.")
    ] = None,
    way: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where each step's guess at the result goes, animated: FILE.webp, .gif or .apng. --preview is faster.",
        ),
    ] = None,
    model: options.Model = options.MODEL,
    solver: options.Solver = None,
    steps: options.Steps = None,
    strength: options.Strength = None,
    edit_steps: options.EditSteps = None,
    guidance: options.Guidance = None,
    source_guidance: options.SourceGuidance = None,
    negative: options.Negative = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    size: options.Size = None,
    budget: options.Budget = None,
    tol: options.Tol = None,
    residual_correction: options.ResidualCorrection = None,
    resolution: options.Resolution = None,
    control: options.Control = None,
    weight: options.Weight = None,
    mask: options.Mask = None,
    paste: options.Paste = False,
    captioner: options.Captioner = None,
    force: options.Force = False,
    as_json: options.Json = False,
    *,
    loading: Asked,
) -> None:
    """Edit a picture by text.

    Say what it shows and what it is to show. The result has the size of the picture.
    """
    others = values.whole("--edit-steps", edit_steps, 1)
    stored = inverting.is_stored(image)
    if others is not None and not stored:  # corrections are of the steps that were inverted
        solver = solver or options.FAITHFUL
    how = Inverting.read(
        solver=solver,
        steps=steps,
        strength=strength,
        source_guidance=source_guidance,
        budget=budget,
        tol=tol,
        residual_correction=residual_correction,
        seed=seed,
        resolution=resolution,
    )
    scale, wanted = values.guidance(guidance), values.size("--size", size)
    targets = [values.prompt("--target", text) for text in target]
    if stored:
        inverting.check_stored(image, source, how)
    elif source is None:
        raise RnriError("--source is missing", hint=f"say what {image} shows")
    else:
        values.prompt("--source", source)
    words = steering.weights(weight or ())
    steering.check_paste(paste, image, stored=stored)
    results = outputs.numbered(output or Path(f"{image.stem}-edited.png"), len(targets))
    written = [*results, *([sheet] if sheet else [])]
    outputs.check(written, force=force)
    ways = outputs.numbered(way, len(targets)) if way else []
    outputs.check(ways, suffixes=outputs.ANIMATIONS, force=force)
    inverting.check_way(way, others, loading)
    how.check_solver()
    inverting.check_budget(how, loading)
    controls = steering.controls(control or (), words, mask)
    if others is not None and controls not in ("auto", ()):
        raise RnriError("--edit-steps and controls exclude each other", hint="edit in as many as were inverted")

    from rnri import images
    from rnri.editing.config import EditConfig
    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import fidelity
    from rnri.editing.previews import previews

    timings = Timings()
    with screen.progress() as tell:
        if stored:
            pixels, found = None, inverting.load_inversion(image)
            editor = inverting.open_editor(model, device, timings, tell, loading)
        else:
            pixels = inverting.read_picture(image, timings)
            editor = inverting.open_editor(model, device, timings, tell, loading)
            prompt = inverting.describe(source or "", pixels, model, captioner, tell, loading)
            tell("inverting")
            found = how.invert(editor, pixels, prompt, timings)
        tell("editing")
        config = EditConfig(scale, negative, controls, others)
        result = editor.edit(found, targets, config, paste=pixels if paste else None, size=wanted, timings=timings)
        if way:
            for path, frames in zip(ways, previews(editor.model, found, result.sampled, size=wanted), strict=True):
                images.animate(frames, path, seconds=0.5, overwrite=force)
        tell("comparing")
        quality = fidelity(editor, found, pixels) if pixels is not None or sheet else None
        for path, picture in zip(results, result.pictures, strict=True):
            images.write(picture, path, overwrite=force)
        if sheet and quality:
            original = editor.autoencoded(found) if pixels is None else pixels
            edits = [("edit", text, picture) for text, picture in zip(targets, result.pictures, strict=True)]
            images.write(report.sheet(original, found.prompt, quality, edits), sheet, overwrite=force)
    report.trouble(found)
    told = report.record(found, timings, model=model, quality=quality, outputs=[*written, *ways])
    report.show(told, as_json=as_json)


@loads_a_model
def invert(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="PNG, JPEG or WebP.")],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What IMAGE shows, or auto.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.safetensors", help="Where the inversion is stored.")
    ],
    model: options.Model = options.MODEL,
    solver: options.Solver = None,
    steps: options.Steps = None,
    strength: options.Strength = None,
    source_guidance: options.SourceGuidance = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    budget: options.Budget = None,
    tol: options.Tol = None,
    residual_correction: options.ResidualCorrection = None,
    resolution: options.Resolution = None,
    captioner: options.Captioner = None,
    force: options.Force = False,
    as_json: options.Json = False,
    *,
    loading: Asked,
) -> None:
    """Invert a picture and store the way.

    'rnri edit FILE.safetensors' starts from there, as often as wanted.
    """
    how = Inverting.read(
        solver=solver,
        steps=steps,
        strength=strength,
        source_guidance=source_guidance,
        budget=budget,
        tol=tol,
        residual_correction=residual_correction,
        seed=seed,
        resolution=resolution,
    )
    values.prompt("--prompt", prompt)
    outputs.check([output], suffixes=outputs.STORED, force=force)
    how.check_solver()
    inverting.check_budget(how, loading)
    loading.check_unseen()

    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import fidelity

    timings = Timings()
    with screen.progress() as tell:
        pixels = inverting.read_picture(image, timings)
        editor = inverting.open_editor(model, device, timings, tell, loading)
        prompt = inverting.describe(prompt, pixels, model, captioner, tell, loading)
        tell("inverting")
        found = how.invert(editor, pixels, prompt, timings)
        tell("comparing")
        quality = fidelity(editor, found, pixels)
        found.save(output)
    report.trouble(found)
    told = report.record(found, timings, model=model, quality=quality, outputs=[output])
    report.show(told, as_json=as_json)
