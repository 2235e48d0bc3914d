"""`rnri edit` and `rnri invert`: from an image, or its stored inversion, to edited images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, outputs, report, screen, sources
from rnri.cli.groups import naming, option
from rnri.cli.options import EditOptions, InversionOptions, ModelOptions, Size

if TYPE_CHECKING:
    from torch import Tensor

    from rnri.editing.editor import Editor
    from rnri.editing.fidelity import Fidelity
    from rnri.editing.result import EditResult

OUTPUT = ("--output", "-o")
EDITED = "IMAGE-edited.png, in this directory"


@dataclass(frozen=True)
class ResultOptions:
    """Files and form of the results of an edit."""

    PANEL: ClassVar[str] = "Results"

    output: Path | None = option(
        None, "File of the result; OUT-1.png and so on of several.", *OUTPUT, metavar="FILE", show_default=EDITED
    )
    sheet: Path | None = option(None, "Original, reconstruction and results side by side.", metavar="FILE")
    animation: Path | None = option(
        None, "x₀ predictions of all steps: FILE.webp, .gif or .apng.", "--animation", "--way", metavar="FILE"
    )
    size: Size | None = option(None, "Size of the results.", parser=options.size, metavar="WxH")
    paste: bool = option(False, "Where a mask or control keeps IMAGE, put back its own pixels.", "--paste")
    force: bool = option(False, "Overwrite existing files.", "--force")
    as_json: bool = option(False, "Print one JSON object and nothing else.", "--json")

    def paths(self, image: Path, count: int) -> tuple[list[Path], list[Path]]:
        """The files of the results and of their animations, which can be written."""
        results = outputs.numbered(self.output or Path(f"{image.stem}-edited.png"), count)
        outputs.check([*results, *([self.sheet] if self.sheet else [])], force=self.force)
        animations = outputs.numbered(self.animation, count) if self.animation else []
        outputs.check(animations, suffixes=outputs.ANIMATIONS, force=self.force)
        return results, animations

    def check(self, editing: EditOptions, model: ModelOptions) -> None:
        """Raise ``RnriError`` for an animation that cannot be made, and for a preview without one."""
        if self.animation is None:
            model.check_preview("--animation")
        elif editing.steps is not None:
            raise RnriError("--animation and --edit-steps exclude each other", hint="edit in as many steps as inverted")

    def write(
        self, editor: Editor, result: EditResult, image: Path, pixels: Tensor | None, quality: Fidelity | None
    ) -> list[Path]:
        """Write all files; their paths."""
        from rnri import images
        from rnri.editing.previews import previews

        paths, animations = self.paths(image, len(result.prompts))
        if animations:
            frames = previews(editor.model, result.source, result.sampled, size=self.size)
            for path, each in zip(animations, frames, strict=True):
                images.animate(each, path, seconds=0.5, overwrite=self.force)
        for path, picture in zip(paths, result.pictures, strict=True):
            images.write(picture, path, overwrite=self.force)
        if self.sheet and quality:
            original = editor.autoencoded(result.source) if pixels is None else pixels
            edits = [("edit", text, picture) for text, picture in zip(result.prompts, result.pictures, strict=True)]
            sheet = report.sheet(original, result.source.prompt, quality, edits)
            images.write(sheet, self.sheet, overwrite=self.force)
            paths.append(self.sheet)
        return [*paths, *animations]


def edit(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="PNG, JPEG, WebP, or a file of 'rnri invert'.")],
    target: Annotated[list[str], typer.Option(parser=options.prompt, metavar="TEXT", help="Target prompt; repeat it.")],
    results: ResultOptions,
    editing: EditOptions,
    inversion: InversionOptions,
    model: ModelOptions,
    source: Annotated[
        str | None, typer.Option(parser=options.prompt, metavar="TEXT", help="Source prompt, or auto.")
    ] = None,
    captioner: options.Captioner = options.CAPTIONER,
) -> None:
    """Edit an image by text.

    The image is inverted with its source prompt and sampled with the target prompt. The result has its size.
    """
    stored = sources.is_stored(image)
    sources.check(image, source, inversion, paste=results.paste)
    results.paths(image, len(target))
    results.check(editing, model)
    how = inversion.config(**({} if editing.steps is None else {"inverter": options.FAITHFUL}))
    config = editing.config()

    from rnri_core.inversion.inversion import Inversion

    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import fidelity

    timings = Timings()
    with screen.progress() as tell:
        content = sources.load_inversion(image) if stored else sources.read_image(image, timings)
        editor = model.editor(timings, tell)
        if isinstance(content, Inversion):
            pixels, inverted = None, content
        else:
            pixels = content
            prompt = sources.describe(source or "", pixels, model, captioner, tell)
            tell("inverting")
            inverted = sources.invert(editor, pixels, prompt, how, inversion, timings)
        tell("editing")
        with naming(editing):
            pasted = pixels if results.paste else None
            result = editor.edit(inverted, target, config, paste=pasted, size=results.size, timings=timings)
        tell("comparing")
        quality = None if stored and not results.sheet else fidelity(editor, inverted, pixels)
        written = results.write(editor, result, image, pixels, quality)
    report.show(inverted, timings, model.name, quality, written, as_json=results.as_json)


def invert(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="PNG, JPEG or WebP.")],
    prompt: options.Prompt,
    output: Annotated[Path, typer.Option(*OUTPUT, metavar="FILE.safetensors", help="File of the inversion.")],
    inversion: InversionOptions,
    model: ModelOptions,
    captioner: options.Captioner = options.CAPTIONER,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Invert an image and store the inversion.

    'rnri edit FILE.safetensors' edits it, as often as wanted.
    """
    outputs.check([output], suffixes=outputs.STORED, force=force)
    model.check_preview()
    config = inversion.config()

    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import fidelity

    timings = Timings()
    with screen.progress() as tell:
        pixels = sources.read_image(image, timings)
        editor = model.editor(timings, tell)
        prompt = sources.describe(prompt, pixels, model, captioner, tell)
        tell("inverting")
        inverted = sources.invert(editor, pixels, prompt, config, inversion, timings)
        tell("comparing")
        quality = fidelity(editor, inverted, pixels)
        inverted.save(output)
    report.show(inverted, timings, model.name, quality, [output], as_json=as_json)
