"""From a name to the parts of a pipeline: where they lie, which files are read, what is said of others."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from rnri.loading import Loading
from rnri.models.base import SETTINGS

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of pipelines that no image is drawn with here; they are neither downloaded nor loaded."""

LIBRARIES = ("diffusers", "transformers")
"""Whose classes a checkpoint may name. Code that comes with a checkpoint is never run."""


def needs(module: str, extra: str, what: str) -> None:
    """Raise ValueError with the install command if a library that only `what` needs is not there."""
    if find_spec(module) is None:
        raise ValueError(f"{what} needs {module}: pip install 'rnri[{extra}]'")


def folder_of(name: str, served: Sequence[str], loading: Loading) -> Path:
    """The folder of a model on this disk, downloaded from the Hub if it is `owner/name` and not here yet.

    The index is read before anything large is fetched: of a pipeline that is not `served`, nothing is.
    Raises ValueError in one line for what the Hub does not give.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    with quiet():
        from diffusers import DiffusionPipeline
    try:
        index = Path(hf_hub_download(name, "model_index.json", local_files_only=loading.local_files_only))
    except Exception as error:
        raise ValueError(not_given(name, error, "is not in the diffusers layout: use a checkpoint that is")) from error
    if pipeline_class(name, index.parent) not in served:
        return index.parent
    try:
        with quiet(bars=True):
            folder = DiffusionPipeline.download(
                name,
                use_safetensors=None if loading.allow_pickle else True,
                variant=loading.variant,
                local_files_only=loading.local_files_only,
                **dict.fromkeys(UNUSED),
            )
        with suppress(EntryNotFoundError):  # most have none
            hf_hub_download(name, SETTINGS, local_files_only=loading.local_files_only)
        return Path(folder)
    except Exception as error:
        raise ValueError(not_given(name, error, "lacks a file of its own index: use another copy")) from error


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
        raise ValueError(f"{name} is not a model: it needs a model_index.json, as diffusers writes it") from error
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
    if unknown := set(loading.allow_pickle) - set(wanted):
        raise ValueError(f"{name} has no part {sorted(unknown)[0]!r}: it has {', '.join(wanted)}")
    for part, kinds in wanted.items():
        library, kind = (index.get(part) or ("", None))[:2]
        if kind not in kinds and not (kind and not kinds):
            known = " or ".join(each for each in kinds if each) or "there"
            raise ValueError(f"{name}: its {part} is {kind}, not {known}: use another model")
        if kind is not None:
            parts[part] = _load(name, folder / part, _class(name, part, library, kind), dtype, loading)
    return parts


def _class(name: str, part: str, library: str, kind: str) -> Any:
    """The class that a checkpoint's index names."""
    if library not in LIBRARIES:
        raise ValueError(f"{name}: its {part} is code of its own ({library}.{kind}), which is not run: use another")
    try:
        with quiet():
            return getattr(import_module(library), kind)
    except (AttributeError, ImportError, RuntimeError) as error:
        raise ValueError(
            f"{name}: its {part} is {kind}, which this {library} lacks: pip install -U {library}"
        ) from error


def _load(name: str, folder: Path, kind: Any, dtype: torch.dtype, loading: Loading) -> Any:
    """One part; ValueError in one line if a file is missing, damaged or does not fill it."""
    part = folder.name
    try:
        if not issubclass(kind, torch.nn.Module):
            with quiet():
                found = kind.from_pretrained(folder, local_files_only=True)
            _check_vocabulary(found, folder)
            return found
        with torch.random.fork_rng(devices=[]), quiet():  # weights start random before they are filled
            component, report = kind.from_pretrained(
                folder,
                local_files_only=True,
                torch_dtype=dtype,
                variant=loading.variant,
                use_safetensors=part not in loading.allow_pickle,
                output_loading_info=True,
                low_cpu_mem_usage=find_spec("accelerate") is not None,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{name}: its {part} cannot be loaded ({first_line(error)})") from error
    if missing := report["missing_keys"]:
        raise ValueError(f"{name}: its {part} lacks {len(missing)} weight tensors: get a whole copy")
    return component.requires_grad_(False).eval()


def _check_vocabulary(part: Any, folder: Path) -> None:
    """Raise ValueError for a tokenizer without the files that have its words: it would be made without any."""
    names = dict(getattr(part, "vocab_files_names", {}))
    whole = names.pop("tokenizer_file", None)
    if not whole or (folder / whole).is_file():
        return
    lacking = [name for name in names.values() if not (folder / name).is_file()]
    if lacking or len(part) <= len(set(part.all_special_ids)):
        raise ValueError(f"{(lacking or [whole])[0]} is missing")


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
