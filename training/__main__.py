"""From nothing to the shipped weights: ``python -m training``.

Renders the scenes, then trains autoencoder, text encoder, denoiser, few-step student and attribute reader, and writes
the checkpoints into the package. Every stage keeps a checkpoint, so an interrupted call is repeated and goes on.
With ``--continue`` the networks start as those in ``training/progress``, or as the shipped ones, in a folder of their
own.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "200000000",
}
"""glibc otherwise returns every large buffer to the kernel and faults it in again, which halves the speed."""

WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "rnri" / "weights"


def main() -> None:
    """Run every stage that is not finished yet."""
    if sys.platform == "linux" and not _ALLOCATOR.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "training", *sys.argv[1:]], os.environ | _ALLOCATOR)
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/training"), help="cache and checkpoints")
    parser.add_argument(
        "--continue",
        action="store_true",
        dest="go_on",
        help="start from the networks in training/progress, or as shipped",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--scenes", type=int, default=19_000)
    parser.add_argument("--autoencoder-steps", type=int, default=4800)
    parser.add_argument("--text-steps", type=int, default=500)
    parser.add_argument("--diffusion-steps", type=int, default=3000)
    parser.add_argument("--distil-steps", type=int, default=500)
    parser.add_argument("--reader-steps", type=int, default=3600)
    arguments = parser.parse_args()

    import torch

    from rnri.models.defaults import Defaults
    from rnri.scenes.reader import Reader
    from training import autoencoder, cache, diffusion, distil, reader, text, tokenizer
    from training.diffusion import Painter
    from training.export import export, in_progress, shipped, widened

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    folder: Path = arguments.folder
    cache.fill(folder, arguments.scenes)
    words = tokenizer.build(folder / "tokenizer")
    start = None
    if arguments.go_on:
        vae, painter = widened(*shipped(WEIGHTS / "scenes"))
        vae = in_progress() or vae
        before = widened(*shipped(WEIGHTS / "scenes"))[1], widened(*shipped(WEIGHTS / "scenes-turbo"))[1]
    else:
        vae, painter = (
            autoencoder.new(),
            Painter.new(text.train(words, folder, steps=arguments.text_steps)),
        )
    vae = autoencoder.train(vae, folder, steps=arguments.autoencoder_steps)
    latents, scenes = autoencoder.cached_latents(vae, folder), cache.load(folder)[1]
    painter = diffusion.train(painter, words, latents, scenes, folder, steps=arguments.diffusion_steps)
    if arguments.go_on:
        start = distil.carried_over(painter, *before)
    export(vae, painter, words, WEIGHTS / "scenes", settings=Defaults(30, distil.GUIDANCE, editing=1.0))
    student = distil.train(painter, words, latents, scenes, folder, steps=arguments.distil_steps, start=start)
    export(vae, student, words, WEIGHTS / "scenes-turbo", settings=Defaults(distil.STEPS))
    network = reader.train(folder, steps=arguments.reader_steps)
    Reader(network).save(WEIGHTS / "reader")
    reader.examine(Reader(network), *cache.heldout(folder))


if __name__ == "__main__":
    main()
