"""Low-rank changes to a checkpoint's weights (LoRA, Hu et al. 2022), merged into them when it is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnri_core import threads
from rnri_core.errors import RnriError

from rnri.models.components import downloading, needs
from rnri.models.loading import Loading
from rnri.models.quiet import first_line, quiet

SUFFIX = ".safetensors"
USUAL = f"pytorch_lora_weights{SUFFIX}"
"""The file name that diffusers gives."""
ADAPTER = "rnri"


def add_loras(name: str, pipe: Any, loading: Loading) -> None:
    """Merge the LoRAs of `loading` into the pipeline's networks.

    Merged weights cost nothing when sampling, and change the model's fingerprint. Raises RnriError in one line for a
    file that is no LoRA, or does not fit the networks.
    """
    if not loading.lora:
        return
    needs("peft", "lora", "a LoRA")
    if not hasattr(pipe, "load_lora_weights"):
        raise RnriError(f"{name}: {type(pipe).__name__} takes no LoRA")
    for spec in loading.lora:
        origin, scale = parse(spec)
        file = _file(origin, loading)
        try:
            with threads.loading(), quiet():
                pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=ADAPTER)
        except Exception as error:  # diffusers, peft and safetensors each have their own
            raise RnriError(f"LoRA {spec} cannot be added to {name} ({first_line(error)})") from error
        changed = [component for component in pipe.get_list_adapters() if _changed(getattr(pipe, component))]
        if not changed:
            raise RnriError(f"LoRA {spec} changes nothing in {name}", hint="it was made for another kind of model")
        with threads.loading(), quiet():
            pipe.fuse_lora(changed, lora_scale=scale, adapter_names=[ADAPTER])
            pipe.unload_lora_weights()


def _changed(network: Any) -> bool:
    """Whether any layer of a network has low-rank weights now; weights for layers that it lacks are dropped."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(each, BaseTunerLayer) and ADAPTER in each.active_adapters for each in network.modules())


def _file(origin: str, loading: Loading) -> Path:
    """The file of a LoRA, downloaded if it is in a repository on the Hub and not in the cache yet."""
    path = Path(origin)
    if path.suffix not in ("", SUFFIX) and (path.is_file() or origin.count("/") > 1):
        raise RnriError(f"LoRA {origin} is not read", hint=f"only {SUFFIX} files are")
    if path.is_file():
        return path
    if path.is_dir():
        return path / _only(origin, [each.relative_to(path).as_posix() for each in path.rglob(f"*{SUFFIX}")])
    owner, _, rest = origin.partition("/")
    repository, _, inside = rest.partition("/")
    if not owner or not repository or owner in (".", "..", "~") or bool(inside) is not (path.suffix == SUFFIX):
        raise RnriError(f"LoRA {origin} does not exist", hint="check the path, or give owner/name of one on the Hub")
    return _downloaded(f"{owner}/{repository}", inside, loading)


def _downloaded(repository: str, inside: str, loading: Loading) -> Path:
    """A file of a repository on the Hub, by its path in it or the only one there is."""
    from huggingface_hub import hf_hub_download

    with downloading(repository, f"has no file {inside}", "check its path", what="LoRA: "):
        inside = inside or _only(repository, _listed(repository, loading))
        return Path(hf_hub_download(repository, inside, local_files_only=loading.local_files_only))


def _listed(repository: str, loading: Loading) -> list[str]:
    """The files of a repository on the Hub; offline, those that are in the cache."""
    from huggingface_hub import HfApi, constants, snapshot_download

    if not (loading.local_files_only or constants.HF_HUB_OFFLINE):
        return HfApi().list_repo_files(repository)
    folder = Path(snapshot_download(repository, local_files_only=True, allow_patterns=[]))  # no file need be there
    return [each.relative_to(folder).as_posix() for each in folder.rglob(f"*{SUFFIX}")]


def _only(origin: str, names: Sequence[str]) -> str:
    """The file of diffusers' usual name, or the only one; RnriError that lists them where it is neither."""
    files = sorted((name for name in names if name.endswith(SUFFIX)), key=lambda name: (name.count("/"), name))
    if not files:
        raise RnriError(f"LoRA {origin} has no {SUFFIX} file", hint="give one that has")
    top = [name for name in files if name.count("/") == files[0].count("/")]  # below them, checkpoints of the training
    if len(top) > 1 and USUAL not in top:
        more = f" and {len(top) - 3} more" if len(top) > 3 else ""
        raise RnriError(
            f"LoRA {origin} has {', '.join(top[:3])}{more}", hint=f"say which, like {origin.rstrip('/')}/{top[0]}"
        )
    return USUAL if USUAL in top else top[0]


def parse(text: str) -> tuple[str, float]:
    """The file or repository of a LoRA, and its scale, from `FILE@SCALE`.

    >>> parse("latent-consistency/lcm-lora-sdv1-5"), parse("style.safetensors@0.7")
    (('latent-consistency/lcm-lora-sdv1-5', 1.0), ('style.safetensors', 0.7))
    """
    origin, at, scale = text.rpartition("@")
    if not at:
        return text, 1.0
    try:
        number = float(scale)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RnriError(f"LoRA {text!r} has no scale after its @", hint=f"give a number, like {origin}@0.7")
    return origin, number
