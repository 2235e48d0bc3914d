"""From a name to the parts of a pipeline: where they lie, which files are read, what is said of others."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rnri_core import threads
from rnri_core.errors import RnriError
from safetensors import SafetensorError

from rnri.load_options import Loading
from rnri.models.base import SETTINGS

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of pipelines that no image is drawn with here; they are neither downloaded nor loaded."""

LIBRARIES = ("diffusers", "transformers")
"""Whose classes a checkpoint may name. Code that comes with a checkpoint is never run."""

NETWORKS = ("unet", "transformer", "vae", "text_encoder")
"""How parts that have weights are called."""

STEMS = ("diffusion_pytorch_model", "pytorch_model", "model")
"""What the two call their files of weights, before variant, number of the piece, and suffix."""

_PIECE = r"(?:-\d{5}-of-\d{5})?"
WEIGHTS = re.compile(rf"(?:{'|'.join(STEMS)}){_PIECE}(?:\.([^.]+?))?{_PIECE}\.(safetensors|bin)")
"""Such a name; its groups are the variant and the suffix."""


def needs(module: str, extra: str, what: str) -> None:
    """Raise ValueError with the install command if a library that only `what` needs is not there."""
    package = module.partition(".")[0]
    if find_spec(package) is None or find_spec(module) is None:
        raise RnriError(f"{what} needs {module}", hint=f"pip install 'rnri[{extra}]'")


def folder_of(name: str, served: Sequence[str], loading: Loading) -> Path:
    """The folder of a model on this disk, downloaded from the Hub if it is `owner/name` and not here yet.

    The index and the names of all files are read before anything large is fetched: of a pipeline that is not `served`,
    or that lacks what is asked for, nothing is. Raises ValueError in one line for what the Hub does not give.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        index = hf_hub_download(name, "model_index.json", local_files_only=loading.local_files_only)
    except Exception as error:
        raise RnriError(not_given(name, error, "is not in the diffusers layout: use a checkpoint that is")) from error
    folder = Path(index).parent
    if pipeline_class(name, folder) not in served:
        return folder
    parts = _parts(folder)
    read = ["model_index.json", SETTINGS, *(pattern for part in parts for pattern in _patterns(part, loading))]
    if listed := _listed(name, loading):
        _check_files(name, listed, parts, loading)
        wanted = [each for each in listed if any(fnmatchcase(each, pattern) for pattern in read)]
        if all((folder / each).is_file() for each in wanted):
            return folder
    try:
        with quiet(bars=True):
            return Path(snapshot_download(name, allow_patterns=read, local_files_only=loading.local_files_only))
    except Exception as error:
        raise RnriError(not_given(name, error, "lacks a file of its own index: use another copy")) from error


def _parts(folder: Path) -> list[str]:
    """Those that a model's own index gives a class, but for the unused."""
    index = json.loads((folder / "model_index.json").read_text())
    given = {part: value for part, value in index.items() if isinstance(value, list) and not part.startswith("_")}
    return [part for part, (library, *_) in given.items() if isinstance(library, str) and part not in UNUSED]


def _listed(name: str, loading: Loading) -> list[str]:
    """The files of a repository; none where the Hub is not to be asked, or does not say: then the cache may do."""
    from huggingface_hub import HfApi

    if not loading.local_files_only:
        with suppress(Exception):
            return HfApi().list_repo_files(name)
    return []


def _patterns(part: str, loading: Loading) -> list[str]:
    """Of the files that are read of a part: of a network its configuration, and one copy of its weights."""
    if not part.startswith(NETWORKS):
        return [f"{part}/*"]
    suffix, copy = _suffix(part, loading), f".{loading.variant}" if loading.variant else ""
    whole, pieces = f"{copy}.{suffix}", (f"{copy}-?????-of-?????.{suffix}", f"-?????-of-?????{copy}.{suffix}")
    indexes = (f".{suffix}.index{copy}.json", f".{suffix}{copy}.index.json")
    names = [f"{stem}{ending}" for stem in STEMS for ending in (whole, *pieces, *indexes)]
    return [f"{part}/{name}" for name in ("config.json", *names)]


def _suffix(part: str, loading: Loading) -> str:
    """Of the weights that are read of a part."""
    return "bin" if part in loading.allow_pickle else "safetensors"


def _check_files(name: str, files: Collection[str], parts: Collection[str], loading: Loading) -> None:
    """Raise ValueError, saying what to ask for, where files lack a part of a checkpoint, or the copy asked for."""
    if unknown := sorted(set(loading.allow_pickle) - set(parts)):
        raise RnriError(f"{name} has no part {unknown[0]!r}", hint=f"it has {', '.join(parts)}")
    pickles, variants = [], {}
    for part in parts:
        inside = [path.removeprefix(f"{part}/") for path in files if path.startswith(f"{part}/")]
        if not inside:
            raise RnriError(f"{name}: its {part} cannot be loaded (it has no folder {part})", hint="use a whole copy")
        found = [(match[1] or "", match[2]) for match in map(WEIGHTS.fullmatch, inside) if match]
        read = {variant for variant, suffix in found if suffix == _suffix(part, loading)}
        if read:
            variants[part] = read
        elif found and part in loading.allow_pickle:
            raise RnriError(f"{name}: its {part} is no pickle", hint=f"leave --allow-pickle {part} out")
        elif found:
            pickles.append(part)
    if pickles:
        allowed = (*loading.allow_pickle, *pickles)
        options = " ".join(f"--allow-pickle {part}" for part in allowed)
        raise RnriError(
            f"{name}: its {' and '.join(pickles)} cannot be loaded (pickles may run code)",
            hint=f"if you trust them, use {options}, in Python Loading(allow_pickle={allowed})",
        )
    _check_variant(name, variants, loading.variant or "")


def _check_variant(name: str, variants: Mapping[str, set[str]], asked: str) -> None:
    """Raise ValueError, saying what to ask for, where the weights of a part are of other variants, "" being none."""
    lacking = [part for part, there in variants.items() if asked not in there]
    if not lacking:
        return
    shared = sorted(set.intersection(*variants.values()))
    cure = f"use --variant {shared[0]}, in Python Loading(variant={shared[0]!r})" if shared else "use another model"
    if "" in shared:
        cure = "leave --variant out"
    there = " or ".join(sorted(variants[lacking[0]]))
    said = f"it has no weights of variant {asked}" if asked else f"its only weights are of variant {there}"
    raise RnriError(f"{name}: its {lacking[0]} cannot be loaded ({said})", hint=f"{cure}")


def not_given(name: str, error: Exception, lacks: str) -> str:
    """Why the Hub does not give what is asked of a repository, and what to do; `lacks` says so of a missing file.

    The error may be of the Hub's client, of the HTTP library under it, or of the system: each has its own.

    >>> not_given("owner/name", ConnectionResetError("peer closed the connection"), "has no such file")
    'the Hub does not give owner/name (ConnectionResetError: peer closed the connection): try again, or give a folder'
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return f"{name} is gated: accept its terms at https://huggingface.co/{name}, then run 'hf auth login'"
    if "EntryNotFoundError" in kinds and "LocalEntryNotFoundError" not in kinds:
        return f"{name} {lacks}"
    if "RepositoryNotFoundError" in kinds:
        return f"the Hub has no {name}, or it is private: check the name, or run 'hf auth login'"
    if "LocalEntryNotFoundError" in kinds or "OfflineModeIsEnabled" in kinds:
        return f"{name} is not downloaded and the Hub is out of reach: connect, or give a folder"
    said = first_line(error)
    reason = said if said == type(error).__name__ else f"{type(error).__name__}: {said}"
    return f"the Hub does not give {name} ({reason}): try again, or give a folder"


def pipeline_class(name: str, folder: Path) -> str:
    """The pipeline that a model's own index names; ValueError if there is none."""
    try:
        kind = json.loads((folder / "model_index.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RnriError(f"{name} is not a model", hint="it needs a model_index.json, as diffusers writes it") from error
    return kind if isinstance(kind, str) else str(kind[-1])


def parts_of(
    name: str, folder: Path, wanted: dict[str, tuple[str | None, ...]], dtype: torch.dtype, loading: Loading
) -> dict[str, Any]:
    """The parts in a folder of the standard layout: part → object, and the settings that stand beside them.

    `wanted` has the classes that may lie in each folder, None where a part may be missing, nothing where any may.
    Raises ValueError naming the part that is missing, incomplete or of another family.
    """
    index = json.loads((folder / "model_index.json").read_text())
    parts: dict[str, Any] = {
        key: value for key, value in index.items() if not isinstance(value, list) and not key.startswith("_")
    }
    classes = {}
    for part, kinds in wanted.items():
        library, kind = (index.get(part) or ("", None))[:2]
        if kind not in kinds and not (kind and not kinds):
            known = " or ".join(each for each in kinds if each) or "there"
            raise RnriError(f"{name}: its {part} is {kind}, not {known}", hint="use another model")
        if kind is not None:
            classes[part] = _class(name, part, library, kind)
    _check_files(name, [path.relative_to(folder).as_posix() for path in folder.glob("*/*")], classes, loading)
    return parts | {part: _load(name, folder / part, kind, dtype, loading) for part, kind in classes.items()}


def _class(name: str, part: str, library: str, kind: str) -> Any:
    """The class that a checkpoint's index names."""
    if library not in LIBRARIES:
        raise RnriError(
            f"{name}: its {part} is code of its own ({library}.{kind}), which is not run", hint="use another"
        )
    try:
        with quiet():
            return getattr(import_module(library), kind)
    except (AttributeError, ImportError, RuntimeError) as error:
        raise RnriError(
            f"{name}: its {part} is {kind}, which this {library} lacks", hint=f"pip install -U {library}"
        ) from error


def _load(name: str, folder: Path, kind: Any, dtype: torch.dtype, loading: Loading) -> Any:
    """One part; ValueError in one line if a file is missing, damaged or does not fill it."""
    part = folder.name
    if any(folder.glob("*.model")) and not (folder / "tokenizer.json").is_file():
        for module in ("sentencepiece", "google.protobuf"):
            needs(module, "text", f"{name}: its {part}")
    try:
        if not issubclass(kind, torch.nn.Module):
            with quiet():
                found = kind.from_pretrained(folder, local_files_only=True)
            _check_vocabulary(found, folder)
            return found
        with (
            threads.loading(),
            torch.random.fork_rng(devices=[]),
            quiet(),
        ):  # weights start random before they are filled
            component, report = kind.from_pretrained(
                folder,
                local_files_only=True,
                torch_dtype=dtype,
                variant=loading.variant,
                use_safetensors=part not in loading.allow_pickle,
                output_loading_info=True,
                low_cpu_mem_usage=find_spec("accelerate") is not None,
            )
    except (
        OSError,
        ValueError,
        RuntimeError,
        ImportError,
        KeyError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise RnriError(f"{name}", hint=f"its {part} cannot be loaded ({first_line(error)})") from error
    if missing := report["missing_keys"]:
        raise RnriError(f"{name}: its {part} lacks {len(missing)} weight tensors", hint="get a whole copy")
    return component.requires_grad_(False).eval()


def _check_vocabulary(part: Any, folder: Path) -> None:
    """Raise ValueError for a tokenizer without the files that have its words: it would be made without any."""
    names = dict(getattr(part, "vocab_files_names", {}))
    whole = names.pop("tokenizer_file", None)
    if not whole or (folder / whole).is_file():
        return
    lacking = [name for name in names.values() if not (folder / name).is_file()]
    if lacking or len(part) <= len(set(part.all_special_ids)):
        raise RnriError(f"{(lacking or [whole])[0]} is missing")


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


_LOCK = threading.Lock()
_WITHIN: list[bool] = []
"""Whether bars of downloads are wanted, by each that is within :func:`quiet` now: what it sets, it sets for all."""
_BEFORE: list[tuple[Callable[..., object], Any]] = []
"""What sets things back as they were, and to what."""


@contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """No remarks on configurations and cut prompts, which are said here; no progress but, with `bars`, of downloads.

    Threads may be within at the same time: the first in has things remembered, and the last out has them set back.
    """
    with _LOCK:
        if not _WITHIN:
            _hush()
        _WITHIN.append(bars)
        _show_downloads()
    try:
        yield
    finally:
        with _LOCK:
            _WITHIN.remove(bars)
            if _WITHIN:
                _show_downloads()
            else:
                while _BEFORE:
                    restore, value = _BEFORE.pop()
                    restore(value)


def _hush() -> None:
    from diffusers.utils import logging as of_diffusers
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled
    from transformers.utils import logging as of_transformers

    _BEFORE[:] = [
        (_switch_downloads, not are_progress_bars_disabled()),
        (_switch_transformers, of_transformers.is_progress_bar_enabled()),
        (of_transformers.set_verbosity, of_transformers.get_verbosity()),
        (of_diffusers.set_verbosity, of_diffusers.get_verbosity()),
    ]
    of_diffusers.set_verbosity_error()
    of_transformers.set_verbosity_error()
    _switch_transformers(False)


def _show_downloads() -> None:
    """Show their bars if anybody within wants them, and if they were shown before."""
    _switch_downloads(any(_WITHIN) and bool(_BEFORE[0][1]))


def _switch_transformers(shown: bool) -> None:
    """On or off, and bars of downloads with them."""
    from transformers.utils import logging

    (logging.enable_progress_bar if shown else logging.disable_progress_bar)()


def _switch_downloads(shown: bool) -> None:
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if shown else disable_progress_bars)()
