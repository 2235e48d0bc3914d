"""Draws the figures of these pages: ``python docs/make_figures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rnri import images
from rnri.editing.editor import Editor
from rnri.models import EMBEDDED
from rnri.scenes.captions import caption, parse
from rnri.scenes.edits import Edit, Kind
from rnri.scenes.render import render
from rnri.scenes.splits import split, split_edits

FOLDER = Path(__file__).parent / "images"

SIZE = 256
"""Side in pixels at which a scene is drawn for the figures; the models see it at 128."""

WIDTH = 208
"""Width in pixels of one picture of a figure."""

COLUMNS = 4

SCENES = (
    # by day
    (
        3,
        "a small orange striped cone on the left and a large blue metal ball in the middle, on checkered tiles, by day",
    ),
    (2, "in daylight, on a lawn, a big red matte box in the middle and a little striped purple sphere on the right"),
    (8, "a large turquoise striped ball on the left and a small yellow glass cone on the right, on sand, by day"),
    (12, "a large white metal cylinder on the left and a small pink matte gem in the middle, on water, by day"),
    (
        15,
        "a watercolour of a large orange striped gem on the left and a small purple metal ball on the right, on grass,"
        " by day",
    ),
    # at sunset
    (4, "a small red metal ball on the left, on sand, at sunset"),
    (6, "a large green glass gem on the left and a small white striped cylinder in the middle, on water, at sunset"),
    (13, "a large turquoise metal cube in the middle, on a wooden floor, in the evening sun"),
    (9, "a large black metal ball in the middle and a small orange matte cube on the right, on grass, at sunset"),
    (16, "a coloured pencil sketch of a large red striped ball in the middle, on checkered tiles, at sunset"),
    # at night
    (18, "a large turquoise glass gem in the middle and a small pink matte ball on the right, on water, at night"),
    (
        7,
        "a large orange metal cone on the left, a small white matte ball in the middle and a large blue glass cube on"
        " the right, on a wooden floor, at night",
    ),
    (10, "a large red striped cone on the left and a small green metal gem in the middle, on snow, under the stars"),
    (14, "a small yellow striped ball on the left and a large pink glass cylinder on the right, on tiles, at night"),
    (
        17,
        "pixel art of a large yellow metal cylinder on the left and a small blue striped cone on the right, on snow,"
        " at night",
    ),
    # under a grey sky
    (
        1,
        "a large yellow striped cylinder on the left and a small black metal cube on the right, on snow, under a grey"
        " sky",
    ),
    (5, "a large pink metal gem in the middle, on checkered tiles, under a grey sky"),
    (11, "in the centre a large purple glass sphere, on the right a little blue striped box, on wood, on a cloudy day"),
    (20, "a large green matte cone on the left with a small red metal box in the middle, on grass, under a gray sky"),
    (
        19,
        "a watercolour of a small green matte cube on the left and a large pink striped cone on the right, on sand,"
        " under a grey sky",
    ),
)
"""(seed, caption) of each picture of the contact sheet, a column for each sky."""

EDITS: tuple[tuple[Kind, str, int, str, str], ...] = (
    (
        "replace",
        "ball to cone",
        21,
        "a large orange striped ball in the middle, on grass, by day",
        "a large orange striped cone in the middle, on grass, by day",
    ),
    (
        "add",
        "a turquoise ball",
        22,
        "a small red matte cube on the left, on sand, at sunset",
        "a small red matte cube on the left and a large turquoise metal ball on the right, on sand, at sunset",
    ),
    (
        "remove",
        "the orange cone",
        23,
        "a large blue glass gem on the left and a small orange striped cone on the right, on tiles, at night",
        "a large blue glass gem on the left, on tiles, at night",
    ),
    (
        "size",
        "small to large",
        24,
        "a small purple metal ball in the middle, on checkered tiles, at sunset",
        "a large purple metal ball in the middle, on checkered tiles, at sunset",
    ),
    (
        "place",
        "left to right",
        25,
        "a large green metal gem on the left, on snow, under a grey sky",
        "a large green metal gem on the right, on snow, under a grey sky",
    ),
    (
        "colour",
        "red to blue",
        4,
        "a small red metal ball on the left, on sand, at sunset",
        "a small blue metal ball on the left, on sand, at sunset",
    ),
    (
        "material",
        "matte to striped",
        27,
        "a large red matte cylinder in the middle, on water, by day",
        "a large red striped cylinder in the middle, on water, by day",
    ),
    (
        "ground",
        "wood to water",
        28,
        "a large yellow striped gem in the middle, on a wooden floor, at sunset",
        "a large yellow striped gem in the middle, on water, at sunset",
    ),
    (
        "light",
        "day to night",
        29,
        "a large turquoise striped cone on the left and a small red metal ball in the middle, on snow, by day",
        "a large turquoise striped cone on the left and a small red metal ball in the middle, on snow, at night",
    ),
    (
        "style",
        "photo to watercolour",
        30,
        "a large red metal ball in the middle and a small black matte cube on the right, on grass, by day",
        "a watercolour of a large red metal ball in the middle and a small black matte cube on the right, on grass,"
        " by day",
    ),
    (
        "random",
        "colour and shape",
        31,
        "a large white striped ball on the left and a small green glass cone on the right, on sand, by day",
        "a large purple striped ball on the left and a small green glass gem on the right, on sand, by day",
    ),
    (
        "random",
        "size and light",
        32,
        "a small pink matte cylinder in the middle, on grass, at sunset",
        "a large pink matte cylinder in the middle, on grass, under a grey sky",
    ),
)
"""(kind, what changes, seed, source caption, target caption) of each edit shown."""


def scenes() -> images.Picture:
    """The contact sheet: a column for each sky, the caption under each picture."""
    rows = len(SCENES) // COLUMNS
    order = [SCENES[rows * column + row] for row in range(rows) for column in range(COLUMNS)]
    tiles = [(render(parse(caption, seed), SIZE), caption) for seed, caption in order]
    return images.sheet(tiles, columns=COLUMNS, width=WIDTH)


def edits() -> images.Picture:
    """Source, true target and mask of an edit of each kind, two edits to a row."""
    tiles: list[tuple[np.ndarray, str]] = []
    for kind, change, seed, source, target in EDITS:
        shown = Edit(kind, parse(source, seed), parse(target, seed)).images(SIZE)
        mask = np.where(shown.mask, np.uint8(235), np.uint8(40))
        tiles += [(shown.source, f"{kind}\n{change}"), (shown.target, "true target"), (mask, "may change")]
    return images.sheet(tiles, columns=6, width=WIDTH)


def samples() -> images.Picture:
    """What each embedded model draws of eight held-out captions, under a true picture of each; nothing is picked."""
    truths = split("heldout", 8, style="photo")
    captions = [caption(scene) for scene in truths]
    tiles: list[tuple[images.ImageLike, str]] = [(render(scene), "render") for scene in truths]
    for name in sorted(EMBEDDED):
        pictures = Editor.from_pretrained(name).generate(captions)
        tiles += [(picture, name) for picture in pictures]
    last = len(truths)
    tiles[-last:] = [
        (picture, f"{name}\n{text}") for (picture, name), text in zip(tiles[-last:], captions, strict=True)
    ]
    return images.sheet(tiles, columns=last, width=WIDTH)


def strength(count: int = 44) -> Figure:
    """How far from the source held-out edits come as either slider of strength is drawn out, to the whole edit's 1."""
    editor, strengths = Editor.from_pretrained("scenes-turbo"), (0.0, 0.25, 0.5, 0.75, 1.0)
    ways: dict[str, list[list[float]]] = {"start-step": [], "embedding": []}
    for edit in split_edits("heldout", count):
        source = editor.invert(edit.images().source, edit.source_prompt)
        for name, rows in ways.items():
            drawn = [
                editor.sample(source, [edit.target_prompt], controls=[f"{name}:strength={each}", "automatic-mask"])
                for each in strengths
            ]
            lengths = [(each.latents - source.clean).norm().item() for each in drawn]
            rows.append([length / lengths[-1] for length in lengths])
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.add_subplot(xlabel="strength", ylabel="distance from the source, of the whole edit's")
    for (name, rows), colour in zip(ways.items(), ("#0072b2", "#d55e00"), strict=True):
        low, middle, high = np.quantile(np.array(rows), (0.1, 0.5, 0.9), axis=0)
        rising = np.mean(np.diff(np.array(rows), axis=1) > -0.02)
        axes.plot(
            strengths, middle, "o-", color=colour, label=f"{name}: {rising:.0%} of the moves away from the source"
        )
        axes.fill_between(strengths, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(strengths)
    axes.set_ylim(0, 1.4)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    figure.suptitle(f"{count} held-out edits, scenes-turbo; bands hold four in five", fontsize=9)
    return figure


if __name__ == "__main__":
    strength().savefig(FOLDER / "strength.png", dpi=160)
    images.write(samples(), FOLDER / "samples.png", overwrite=True)
    images.write(scenes(), FOLDER / "scenes.png", overwrite=True)
    images.write(edits(), FOLDER / "edits.png", overwrite=True)
