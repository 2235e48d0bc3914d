"""`rnri generate`: images from a prompt alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import options, outputs, screen


def generate(
    prompt: Annotated[str, typer.Argument(parser=options.prompt, metavar="PROMPT", help="Prompt of the images.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of seed-0.png and so on.")],
    sampling: options.SamplingOptions,
    model: options.ModelOptions,
    count: options.Count = 4,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps.", show_default=options.OWN)] = None,
    seed: options.Seed = 0,
    size: options.ResultSize = None,
    force: options.Force = False,
) -> None:
    """Generate images from a prompt.

    Each is named after the seed that generates it again.
    """
    last = options.MAX_SEED - count + 1
    if seed > last:
        raise RnriError(f"--seed {seed} leaves no seeds for {count} images", hint=f"give at most {last}")
    model.check_preview()
    paths = outputs.check_folder(output, [f"seed-{seed + n}.png" for n in range(count)], force=force)

    from rnri import images
    from rnri.editing.editor import Timings

    timings = Timings()
    with screen.progress() as tell:
        editor = model.editor(timings, tell)
        for n, path in enumerate(paths):
            tell(f"sampling {path.name}")
            image = editor.generate(prompt, steps=steps, **asdict(sampling), seed=seed + n, size=size, timings=timings)
            output.mkdir(parents=True, exist_ok=True)
            images.write(image, path, overwrite=force)
    spent = timings.edit + timings.decode
    screen.pairs(
        [
            ("model", f"{model.name}, {steps or editor.model.defaults.steps} steps"),
            ("seconds", f"load {timings.load:.2f}, each image {spent / count:.2f}"),
            ("written", ", ".join(map(str, paths))),
        ]
    )
