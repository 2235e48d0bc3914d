"""Render the training scenes once, into one file that the later stages read from disk.

    <folder>/images.npy    uint8 (N, 128, 128, 3), memory-mapped
    <folder>/images.done   how many of them are rendered

Scene ``i`` is ``random_scene(default_rng([SEED, i]))``; those whose words belong to the tuning or held-out split are
rendered too, and never trained on.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np

from rnri.scenes.render import SIZE, render
from rnri.scenes.scene import Scene, random_scene
from rnri.scenes.splits import split_of
from training.loop import report

SEED = 20261123
_SAVE_EVERY = 1000


def scene(index: int) -> Scene:
    """Training scene number ``index``."""
    return random_scene(np.random.default_rng([SEED, index]))


def _picture(index: int) -> np.ndarray:
    return render(scene(index))


def rendered(folder: Path) -> int:
    """How many scenes the cache in ``folder`` holds."""
    done = folder / "images.done"
    return int(done.read_text()) if done.exists() else 0


def fill(folder: Path, count: int) -> None:
    """Render until the cache holds ``count`` scenes, on every core; goes on where an earlier call was cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    path, start = folder / "images.npy", rendered(folder)
    if start >= count:
        return
    kept = np.load(path, mmap_mode="r")[:start] if start else None
    if kept is None or len(np.load(path, mmap_mode="r")) < count:
        grown = np.lib.format.open_memmap(path.with_suffix(".new"), "w+", np.uint8, (count, SIZE, SIZE, 3))
        if kept is not None:
            grown[:start] = kept
        grown.flush()
        os.replace(path.with_suffix(".new"), path)
    images = np.lib.format.open_memmap(path, "r+")
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for index, picture in enumerate(pool.imap(_picture, range(start, count), chunksize=32), start):
            images[index] = picture
            if (index + 1) % _SAVE_EVERY == 0 or index + 1 == count:
                images.flush()
                (folder / "images.done").write_text(str(index + 1))
                report("render", index + 1, count)


def load(folder: Path) -> tuple[np.ndarray, list[Scene], np.ndarray]:
    """The training split as ``(images, scenes, keep)``: ``images[keep[i]]`` shows ``scenes[i]``.

    The pictures stay on disk: ``images`` is the memory-mapped file, tuning and held-out ones among them.
    """
    scenes = [scene(index) for index in range(rendered(folder))]
    keep = [index for index, one in enumerate(scenes) if split_of(one) == "train"]
    return np.load(folder / "images.npy", mmap_mode="r"), [scenes[index] for index in keep], np.asarray(keep)


def heldout(folder: Path) -> tuple[np.ndarray, list[Scene]]:
    """The rendered pictures of the held-out split and their scenes: for examination alone."""
    scenes = [scene(index) for index in range(rendered(folder))]
    chosen = [index for index, one in enumerate(scenes) if split_of(one) == "heldout"]
    return np.load(folder / "images.npy", mmap_mode="r")[chosen], [scenes[index] for index in chosen]
