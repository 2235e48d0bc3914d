"""`rnri generate`: pictures from words alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rnri_core.errors import RnriError

from rnri.cli import inverting, options, outputs, screen, values
from rnri.cli.loading import Asked, loads_a_model


@loads_a_model
def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the pictures show.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where they go, as seed-0.png, seed-1.png and so on.")
    ],
    count: Annotated[str, typer.Option("--count", "-n", metavar="N", help="How many.")] = "4",
    model: options.Model = options.MODEL,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    negative: options.Negative = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    size: options.Size = None,
    force: options.Force = False,
    *,
    loading: Asked,
) -> None:
    """Draw pictures from a prompt.

    Each is named after the seed that draws it again.
    """
    values.prompt("PROMPT", prompt)
    number, scale = values.steps(steps), values.guidance(guidance)
    wanted, first = values.size("--size", size), values.seed(seed) or 0
    many = values.whole("--count", count, 1, values.MAX_IMAGES) or 1
    if first > values.MAX_SEED - many + 1:
        raise RnriError(
            f"--seed {first} leaves no seeds for {many} pictures", hint=f"give at most {values.MAX_SEED - many + 1}"
        )
    seeds = range(first, first + many)
    loading.check_unseen()
    paths = outputs.check_folder(output, [f"seed-{n}.png" for n in seeds], force=force)

    from rnri import images
    from rnri.editing.editor import Timings

    timings = Timings()
    with screen.progress() as tell:
        editor = inverting.open_editor(model, device, timings, tell, loading)
        for n, path in zip(seeds, paths, strict=True):
            tell(f"drawing {path.name}")
            picture = editor.generate(
                prompt, steps=number, guidance=scale, negative=negative, seed=n, size=wanted, timings=timings
            )
            output.mkdir(parents=True, exist_ok=True)
            images.write(picture, path, overwrite=force)
    spent = timings.edit + timings.decode
    screen.pairs(
        [
            ("model", f"{model}, {number or editor.model.defaults.steps} steps"),
            ("seconds", f"load {timings.load:.2f}, each picture {spent / many:.2f}"),
            ("written", ", ".join(map(str, paths))),
        ]
    )
