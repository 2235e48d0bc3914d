"""`rnri interpolate` and `rnri concept`: between inverted pictures, and around several of a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rnri_core.errors import RnriError

from rnri.cli import inverting, options, outputs, report, screen, values
from rnri.cli.inverting import Inverting
from rnri.cli.loading import Asked, loads_a_model

PATHS: tuple[Literal["nao", "slerp", "lerp"], ...] = ("nao", "slerp", "lerp")


@loads_a_model
def interpolate(
    a: Annotated[Path, typer.Argument(metavar="A", help="PNG, JPEG or WebP.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    prompt_a: Annotated[str, typer.Option(metavar="TEXT", help="What A shows, or auto.")],
    prompt_b: Annotated[str, typer.Option(metavar="TEXT", help="What B shows, or auto.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE",
            help="A directory for frame-01.png and so on, or an animation: FILE.webp, .gif or .apng.",
        ),
    ],
    count: Annotated[str, typer.Option("--count", "-n", metavar="N", help="How many frames, ends included.")] = "8",
    path: Annotated[
        str, typer.Option(metavar="NAME", help="Through noise: nao (where it is likely), slerp or lerp.")
    ] = "nao",
    model: options.Model = options.MODEL,
    solver: options.NoiseSolver = None,
    steps: options.Steps = None,
    budget: options.Budget = None,
    seed: options.Seed = None,
    resolution: options.Resolution = None,
    device: options.Device = "auto",
    captioner: options.Captioner = None,
    force: options.Force = False,
    *,
    loading: Asked,
) -> None:
    """Turn one picture into another.

    Both are inverted; frames are drawn from the noise between. B is brought to the size of A.
    """
    how = Inverting.read(
        solver=solver or options.FAITHFUL,
        steps=steps,
        budget=budget,
        seed=seed,
        resolution=resolution,
        residual_correction=True,
    )
    frames = values.whole("--count", count, 2, values.MAX_IMAGES) or 2
    by = next((name for name in PATHS if name == path), None)
    if by is None:
        raise RnriError(f"--path {path!r} is not known", hint=f"use {', '.join(PATHS)}")
    values.prompt("--prompt-a", prompt_a)
    values.prompt("--prompt-b", prompt_b)
    animated = output.suffix.lower() in outputs.ANIMATIONS
    if animated:
        outputs.check([output], suffixes=outputs.ANIMATIONS, force=force)
        paths = [output]
    else:
        width = len(str(frames))
        paths = outputs.check_folder(output, [f"frame-{n:0{width}}.png" for n in range(1, frames + 1)], force=force)
    how.check_solver()
    loading.check_unseen()

    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.interpolate import interpolate

    timings = Timings()
    with screen.progress() as tell:
        pixels = [inverting.read_picture(each, timings) for each in (a, b)]
        editor = inverting.open_editor(model, device, timings, tell, loading)
        found = []
        for image, picture, prompt in zip((a, b), pixels, (prompt_a, prompt_b), strict=True):
            said = inverting.describe(prompt, picture, model, captioner, tell, loading)
            tell(f"inverting {image.name}")
            alike = images.resize(picture, (pixels[0].shape[-2], pixels[0].shape[-1]))
            found.append(how.invert(editor, alike, said, timings))
        drawn = []
        for n, frame in enumerate(interpolate(editor, found[0], found[1], frames, by=by), start=1):
            tell(f"frame {n} of {frames}")
            drawn.append(frame)
        if animated:
            images.animate(drawn, output, overwrite=force)
        else:
            output.mkdir(parents=True, exist_ok=True)
            for place, frame in zip(paths, drawn, strict=True):
                images.write(frame, place, overwrite=force)
    for each in found:
        report.trouble(each)
    screen.pairs(
        [
            ("model", f"{model}, {len(found[0].schedule)} steps"),
            *((each.name, inversion.prompt) for each, inversion in zip((a, b), found, strict=True)),
            ("path", by),
            ("written", ", ".join(map(str, paths))),
        ]
    )


@loads_a_model
def concept(
    image: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="A few pictures of it: PNG, JPEG or WebP.")],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What they show, and the new ones are to.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where new-1.png, new-2.png and so on go.")
    ],
    count: Annotated[str, typer.Option("--count", "-n", metavar="N", help="How many.")] = "4",
    variety: Annotated[
        str, typer.Option(metavar="NUMBER", help="How far from their centroid: 0 is there, 1 is anywhere.")
    ] = "0.3",
    model: options.Model = options.MODEL,
    solver: options.NoiseSolver = None,
    steps: options.Steps = None,
    budget: options.Budget = None,
    guidance: options.Guidance = None,
    seed: options.Seed = None,
    resolution: options.Resolution = None,
    device: options.Device = "auto",
    force: options.Force = False,
    *,
    loading: Asked,
) -> None:
    """Draw new pictures of something rare.

    A few pictures of it are inverted, and new ones drawn from around the centroid of their noise.
    """
    how = Inverting.read(
        solver=solver or options.FAITHFUL, steps=steps, budget=budget, seed=seed, resolution=resolution
    )
    many, scale = values.whole("--count", count, 1, values.MAX_IMAGES) or 1, values.guidance(guidance)
    spread, first = values.real("--variety", variety, 1), values.seed(seed) or 0
    values.prompt("--prompt", prompt)
    paths = outputs.check_folder(output, [f"new-{n}.png" for n in range(1, many + 1)], force=force)
    how.check_solver()
    loading.check_unseen()

    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.interpolate import concept

    timings = Timings()
    with screen.progress() as tell:
        pixels = [inverting.read_picture(each, timings) for each in image]
        editor = inverting.open_editor(model, device, timings, tell, loading)
        size = how.resolution[::-1] if how.resolution else editor.model.image_size
        found = []
        for each, picture in zip(image, pixels, strict=True):
            tell(f"inverting {each.name}")
            found.append(how.invert(editor, images.resize(picture, size), prompt, timings))
        drawn = concept(editor, found, prompt, many, variety=spread or 0.0, guidance=scale, seed=first)
        for place, new in zip(paths, drawn, strict=True):
            tell(f"drawing {place.name}")
            output.mkdir(parents=True, exist_ok=True)
            images.write(new, place, overwrite=force)
    for inversion in found:
        report.trouble(inversion)
    screen.pairs(
        [
            ("model", f"{model}, {len(found[0].schedule)} steps"),
            ("references", ", ".join(map(str, image))),
            ("written", ", ".join(map(str, paths))),
        ]
    )
