"""`rnri interpolate` and `rnri concept`: between inverted images, and around several of a kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, outputs, report, screen, sources
from rnri.cli.options import FaithfulInversionOptions, ModelOptions

if TYPE_CHECKING:
    from rnri_core.inversion.inversion import Inversion

    from rnri.images import Picture


def interpolate(
    a: Annotated[Path, typer.Argument(metavar="A", help="PNG, JPEG or WebP.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    prompt_a: options.Prompt,
    prompt_b: options.Prompt,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of frames, or FILE.webp, .gif or .apng.")],
    inversion: FaithfulInversionOptions,
    model: ModelOptions,
    count: Annotated[int, typer.Option("--count", "-n", min=2, max=options.MAX_IMAGES, help="Frames in all.")] = 8,
    path: Annotated[Literal["nao", "slerp", "lerp"], typer.Option(help="Path of the noise.")] = "nao",
    captioner: options.Captioner = options.CAPTIONER,
    force: options.Force = False,
) -> None:
    """Turn one image into another.

    Both are inverted, and frames are sampled from noise between theirs. B is scaled to the size of A.
    """
    if output.suffix.lower() in outputs.ANIMATIONS:
        outputs.check([output], suffixes=outputs.ANIMATIONS, force=force)
        paths = [output]
    else:
        names = [f"frame-{n:0{len(str(count))}}.png" for n in range(1, count + 1)]
        paths = outputs.check_folder(output, names, force=force)
    model.check_preview()
    if inversion.guidance is not None:
        raise RnriError("frames are sampled without --source-guidance", hint="leave it out")
    config = inversion.config(noise_maps=True)

    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.interpolate import interpolate

    timings = Timings()
    with screen.progress() as tell:
        pixels = [sources.read_image(each, timings) for each in (a, b)]
        editor = model.editor(timings, tell)
        inversions = []
        for image, each, prompt in zip((a, b), pixels, (prompt_a, prompt_b), strict=True):
            caption = sources.describe(prompt, each, model, captioner, tell)
            tell(f"inverting {image.name}")
            scaled = images.resize(each, (pixels[0].shape[-2], pixels[0].shape[-1]))
            inversions.append(sources.invert(editor, scaled, caption, config, inversion, timings))
        frames = interpolate(editor, inversions[0], inversions[1], count, by=path)
        if paths == [output]:
            images.animate(list(_counted(frames, count, tell)), output, overwrite=force)
        else:
            _write(_counted(frames, count, tell), paths, force=force)
    prompts = [(image.name, each.prompt) for image, each in zip((a, b), inversions, strict=True)]
    _show(model.name, inversions, [*prompts, ("path", path)], paths)


def concept(
    image: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="A few images of it: PNG, JPEG or WebP.")],
    prompt: Annotated[str, typer.Option(parser=options.prompt, metavar="TEXT", help="Prompt of all images.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of new-1.png and so on.")],
    inversion: FaithfulInversionOptions,
    model: ModelOptions,
    count: options.Count = 4,
    variety: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of fresh noise.")] = 0.3,
    guidance: options.Guidance = None,
    force: options.Force = False,
) -> None:
    """Sample new images of a rare subject.

    A few images of it are inverted, and new ones sampled from around the centroid of their noise.
    """
    paths = outputs.check_folder(output, [f"new-{n}.png" for n in range(1, count + 1)], force=force)
    model.check_preview()
    config = inversion.config()

    from rnri import images
    from rnri.editing.editor import Timings
    from rnri.editing.interpolate import concept

    timings = Timings()
    with screen.progress() as tell:
        pixels = [sources.read_image(each, timings) for each in image]
        editor = model.editor(timings, tell)
        size = config.resolution[::-1] if config.resolution else editor.model.image_size
        inversions = []
        for each, picture in zip(image, pixels, strict=True):
            tell(f"inverting {each.name}")
            scaled = images.resize(picture, size)
            inversions.append(sources.invert(editor, scaled, prompt, config, inversion, timings))
        new = concept(editor, inversions, prompt, count, variety=variety, guidance=guidance, seed=config.seed)
        _write(_counted(new, count, tell), paths, force=force)
    _show(model.name, inversions, [("references", ", ".join(map(str, image)))], paths)


def _counted(pictures: Iterator[Picture], count: int, tell: screen.Tell) -> Iterator[Picture]:
    for n in range(1, count + 1):
        tell(f"image {n} of {count}")
        yield next(pictures)


def _write(pictures: Iterator[Picture], paths: Sequence[Path], *, force: bool) -> None:
    from rnri import images

    for path, picture in zip(paths, pictures, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(picture, path, overwrite=force)


def _show(model: str, inversions: Sequence[Inversion], rows: list[tuple[str, str]], paths: Sequence[Path]) -> None:
    for each in inversions:
        report.warn(each)
    model = f"{model}, {len(inversions[0].schedule)} steps"
    screen.pairs([("model", model), *rows, ("written", ", ".join(map(str, paths)))])
