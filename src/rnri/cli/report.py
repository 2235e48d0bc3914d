"""The result of one run, as `--json` and as lines for people."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnri
from rnri.cli import screen

if TYPE_CHECKING:
    from rnri_core.inversion.inversion import Inversion

    from rnri.editing.editor import Timings
    from rnri.editing.fidelity import Fidelity
    from rnri.images import ImageLike, Picture

_LOG = logging.getLogger(__name__)
_UNDERNEATH = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")


def sheet(original: ImageLike, prompt: str, quality: Fidelity, edits: Sequence[tuple[str, str, Picture]]) -> Picture:
    """Original, reconstruction and edits, each of these as (name, prompt, picture), side by side."""
    from rnri import images

    kind = "original" if quality.reconstruction is not None else "original, autoencoded"
    first = [(original, f"{kind}\n{prompt}"), (quality.picture, f"reconstruction\n{quality}")]
    return images.sheet([*first, *((picture, f"{name}\n{text}") for name, text, picture in edits)])


def show(
    source: Inversion,
    timings: Timings,
    model: str,
    quality: Fidelity | None,
    outputs: Sequence[Path],
    *,
    as_json: bool,
) -> None:
    """Print what was done, as one JSON object or for people, and warn of an inversion that has not converged."""
    warn(source)
    run = _record(source, timings, model, quality, outputs)
    if as_json:
        screen.write(json.dumps(run, allow_nan=False))
        return
    reached, bound = run["psnr_db"].values()
    width, height = run["image_size"]
    unsolved = run["status"] == "NOT_SOLVED"
    rows = [
        ("model", f"{model}, {run['steps']} steps"),
        ("picture", f"{width}×{height} pixels"),
        ("source", run["source"]),
        ("inverter", run["inverter"]),
        ("status", run["status"] + ("" if unsolved else f", residual {number(run['residual'])}")),
        ("calls", calls(source.nfe, source.njvp, source.nvjp)),
        ("seconds", ", ".join(f"{stage} {spent:.2f}" for stage, spent in run["seconds"].items() if spent)),
        ("PSNR", "" if None in (reached, bound) else f"{reached:.1f} dB of the autoencoder's {bound:.1f} dB"),
        ("written", ", ".join(run["outputs"])),
    ]
    screen.pairs([(name, value) for name, value in rows if value])


def warn(source: Inversion) -> None:
    """Warn of an inversion that has not converged."""
    from rnri.editing.fidelity import residual

    worst = source.status
    if worst.name in ("DIVERGED", "MAX_ITER"):
        cure = worst.value.replace("max_iter", "--iterations").replace("solver", "--inverter")
        _LOG.warning("the inversion ended %s at residual %s: %s", worst.name, number(residual(source)), cure)


def _record(
    source: Inversion, timings: Timings, model: str, quality: Fidelity | None, outputs: Sequence[Path]
) -> dict[str, Any]:
    """The object of ``--json``. Of a stored inversion PSNR is None, as its image is not at hand.

    Status and residual are the worst of all steps; sizes are [width, height]; what is not finite is None, and so is
    the residual where no equation was solved.
    """
    import platform
    from importlib.metadata import version

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


def calls(nfe: int, njvp: int = 0, nvjp: int = 0) -> str:
    """Network calls, and Jacobian products if there are any."""
    products = [f"{count} {name}" for count, name in ((njvp, "JVP"), (nvjp, "VJP")) if count]
    return ", ".join([f"{nfe} NFE", *products])


def number(value: float | None) -> str:
    """A figure to three digits, or that it is none."""
    return "not finite" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
