"""One run as a record: what `--json` prints, and what is said about it otherwise."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnri
from rnri.cli import screen

if TYPE_CHECKING:
    from rnri_core.inversion.inversion import Inversion

    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import Fidelity
    from rnri.images import ImageLike, Picture

_UNDERNEATH = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")


def sheet(original: ImageLike, prompt: str, quality: Fidelity, edits: Sequence[tuple[str, str, Picture]]) -> Picture:
    """Original, reconstruction and edits, each given as (what it is, its prompt, its picture), side by side."""
    from rnri import images

    name = "original" if quality.reconstruction is not None else "original, autoencoded"
    first = [(original, f"{name}\n{prompt}"), (quality.picture, f"reconstruction\n{quality}")]
    return images.sheet([*first, *((picture, f"{name}\n{text}") for name, text, picture in edits)])


def record(
    source: Inversion,
    timings: Timings,
    *,
    model: str,
    quality: Fidelity | None,
    outputs: Sequence[Path],
) -> dict[str, Any]:
    """What is told of a run. Of a stored inversion PSNR is None, as its picture is not at hand.

    The status and the residual are the worst of all steps; sizes are [width, height]; what is not finite is None, and
    so is the residual where no equation was solved.
    """
    from rnri.editing.fidelity import residual

    return {
        "model": model,
        "inverter": source.provenance.inverter,
        "steps": len(source.schedule),
        "image_size": source.size,
        "source": source.prompt,
        "source_guidance": source.guidance,
        "status": source.status.name,
        "residual": _finite(residual(source)),
        "nfe": source.nfe,
        "njvp": source.njvp,
        "nvjp": source.nvjp,
        "seconds": {stage: round(seconds, 4) for stage, seconds in asdict(timings).items()},
        "psnr_db": {
            "reconstruction": _finite(quality.reconstruction if quality else None),
            "autoencoder_bound": _finite(quality.autoencoder_bound if quality else None),
        },
        "outputs": [str(path) for path in outputs],
        "versions": {"rnri": rnri.__version__, "python": platform.python_version()}
        | {name: version(name) for name in _UNDERNEATH},
    }


def show(told: dict[str, Any], *, as_json: bool) -> None:
    """Print a record: one JSON object, or what matters of it."""
    if as_json:
        screen.say_exactly(json.dumps(told, allow_nan=False))
        return
    from rnri_core.solvers.solve import Status

    seconds = [f"{stage} {spent:.2f}" for stage, spent in told["seconds"].items() if spent]
    width, height = told["image_size"]
    drawn = told["status"] == Status.NOT_SOLVED.name
    reached, bound = told["psnr_db"].values()
    rows = [
        ("model", f"{told['model']}, {told['steps']} steps"),
        ("picture", f"{width}×{height} pixels"),
        ("source", told["source"]),
        ("inverter", told["inverter"]),
        ("status", told["status"] if drawn else f"{told['status']}, residual {number(told['residual'])}"),
        ("calls", calls(told["nfe"], told["njvp"], told["nvjp"])),
        ("seconds", ", ".join(seconds)),
        ("PSNR", "" if None in (reached, bound) else f"{reached:.1f} dB of the autoencoder's {bound:.1f} dB"),
        ("written", ", ".join(told["outputs"])),
    ]
    screen.pairs([(name, value) for name, value in rows if value])


def trouble(source: Inversion) -> None:
    """Warn of an inversion that did not get where it was to go."""
    from rnri.editing.fidelity import residual

    worst = source.status
    if worst.name in ("DIVERGED", "MAX_ITER"):
        cure = worst.value.replace("max_iter", "--budget").replace("solver", "--solver")
        screen.warn(f"the inversion ended {worst.name} at residual {number(residual(source))}: {cure}")


def calls(nfe: int, njvp: int = 0, nvjp: int = 0) -> str:
    """Network calls, and Jacobian products if there are any."""
    products = [f"{count} {name}" for count, name in ((njvp, "JVP"), (nvjp, "VJP")) if count]
    return ", ".join([f"{nfe} NFE", *products])


def number(value: float | None) -> str:
    """A figure to three digits, or that it is none."""
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
