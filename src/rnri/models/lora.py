"""Low-rank changes to a checkpoint's weights (LoRA, Hu et al. 2022), merged into them when it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnri.loading import Loading
from rnri.models.parts import first_line, needs, quiet

SUFFIX = ".safetensors"


def add_loras(name: str, pipe: Any, loading: Loading) -> None:
    """Merge those asked for into the pipeline's networks; ValueError in one line for what is none, or does not fit.

    Merged weights cost nothing when sampling, and make it another model with a fingerprint of its own.
    """
    if not loading.lora:
        return
    needs("peft", "lora", "a LoRA")
    if not hasattr(pipe, "load_lora_weights"):
        raise ValueError(f"{name}: {type(pipe).__name__} takes no LoRA")
    for said in loading.lora:
        origin, scale = spelt(said)
        path = Path(origin)
        if path.suffix not in ("", SUFFIX) and path.exists():
            raise ValueError(f"LoRA {origin} is not read: only {SUFFIX} files are")
        if path.suffix == SUFFIX and not path.exists():
            raise ValueError(f"LoRA {origin} does not exist: check the path")
        options: dict[str, Any] = {"use_safetensors": True, "local_files_only": loading.local_files_only}
        if path.is_file():
            origin, options["weight_name"] = str(path.parent), path.name
        try:
            with quiet():
                pipe.load_lora_weights(origin, adapter_name="rnri", **options)
                pipe.fuse_lora(lora_scale=scale, adapter_names=["rnri"])
                pipe.unload_lora_weights()
        except Exception as error:  # the Hub's client, its HTTP library, peft and diffusers each have their own
            raise ValueError(f"LoRA {said} cannot be added to {name} ({first_line(error)})") from error


def spelt(text: str) -> tuple[str, float]:
    """Where a LoRA is and how strongly it counts.

    >>> spelt("latent-consistency/lcm-lora-sdv1-5"), spelt("style.safetensors@0.7")
    (('latent-consistency/lcm-lora-sdv1-5', 1.0), ('style.safetensors', 0.7))
    """
    origin, at, scale = text.rpartition("@")
    if not at:
        return text, 1.0
    try:
        return origin, float(scale)
    except ValueError:
        raise ValueError(f"LoRA {text!r} has no scale after its @: give a number, like {origin}@0.7") from None
