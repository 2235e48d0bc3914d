"""The components of a pipeline: downloaded, checked, and loaded by the public loaders of diffusers and transformers.

Each component is loaded by `from_pretrained` of its own class, which `DiffusionPipeline.from_pretrained` calls as well.
The pipeline's method does not keep what is promised here: it takes one `use_safetensors` for all components, where
pickles are allowed one by one; drops the report of missing weights, which stay random then; loads other weights where a
component lacks the variant; names no component in its errors; and changes the settings of the scheduler.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rnri_core import threads
from rnri_core.errors import RnriError

from rnri.models.defaults import SETTINGS
from rnri.models.loading import Loading
from rnri.models.quiet import first_line, quiet

_HUB = "https://huggingface.co"

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that sampling from a prompt does not use; they are neither downloaded nor loaded."""

LIBRARIES = ("diffusers", "transformers")
"""Whose classes a checkpoint may name. Code that comes with a checkpoint never runs."""

NETWORKS = ("unet", "transformer", "vae", "text_encoder")
"""Prefixes of the components that have weights."""

STEMS = ("diffusion_pytorch_model", "pytorch_model", "model")
"""File names of weights in the two libraries, before variant, number of the shard, and suffix."""

KL = ("AutoencoderKL", "AutoencoderTiny")
CLIP = ("CLIPTokenizer", "CLIPTokenizerFast")
T5 = {"text_encoder": ("T5EncoderModel",), "tokenizer": ("T5Tokenizer", "T5TokenizerFast")}
GEMMA = {"text_encoder": ("Gemma2Model",), "tokenizer": ("GemmaTokenizer", "GemmaTokenizerFast")}
QWEN = {"text_encoder": ("Qwen3Model", "Qwen3ForCausalLM"), "tokenizer": ("Qwen2Tokenizer", "Qwen2TokenizerFast")}
"""Classes of components that several families have."""

_SHARD = r"(?:-\d{5}-of-\d{5})?"
_WEIGHTS = re.compile(rf"(?:{'|'.join(STEMS)}){_SHARD}(?:\.([^.]+?))?{_SHARD}\.(safetensors|bin)(?:\.([^.]+))?")
"""File name of weights, or of their index without `.index` and `.json`; groups: variant, suffix, an index's variant."""


def needs(module: str, extra: str, what: str) -> None:
    """Raise RnriError with the install command if a library that only `what` needs is not there."""
    package = module.partition(".")[0]
    if find_spec(package) is None or find_spec(module) is None:
        raise RnriError(f"{what} needs {module}", hint=f"pip install 'rnri[{extra}]'")


def folder_of(name: str, served: Collection[str], loading: Loading) -> Path:
    """The folder of a checkpoint on the Hub, downloaded as far as it is not in the cache yet.

    The index and the names of all files are read before any weights: nothing is downloaded of a pipeline class that is
    not `served`, nor of a checkpoint that is refused. Raises RnriError in one line for what the Hub does not give.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    with downloading(name, "is not in the diffusers layout", "use a checkpoint that is"):
        index = hf_hub_download(name, "model_index.json", local_files_only=loading.local_files_only)
    folder = Path(index).parent
    if loading.local_files_only or pipeline_class(name, folder) not in served:
        return folder
    try:
        files = HfApi().list_repo_files(name)
    except Exception:  # the Hub is out of reach: what the cache lacks is named when it is loaded
        return folder
    components = _components(folder)
    check_files(name, files, components, loading)
    wanted = [each for each in files if each in ("model_index.json", SETTINGS) or _is_read(each, components, loading)]
    if all((folder / each).is_file() for each in wanted):
        return folder
    with downloading(name, "lacks a file of its own index", "use another copy"):
        return Path(snapshot_download(name, allow_patterns=wanted))


def _components(folder: Path) -> list[str]:
    """The components to which a checkpoint's index gives a class, but for the unused."""
    index = json.loads((folder / "model_index.json").read_text())
    classes = {name: value for name, value in index.items() if isinstance(value, list) and not name.startswith("_")}
    return [name for name, (library, *_) in classes.items() if isinstance(library, str) and name not in UNUSED]


def _weights(file: str) -> tuple[str, str] | None:
    """(variant, "safetensors" or "bin") of a file of weights, or of the index of their shards; `None` for others.

    >>> _weights("model.fp16-00001-of-00002.safetensors"), _weights("pytorch_model.bin.index.fp16.json")
    (('fp16', 'safetensors'), ('fp16', 'bin'))
    >>> _weights("diffusion_pytorch_model.safetensors"), _weights("config.json")
    (('', 'safetensors'), None)
    """
    match = _WEIGHTS.fullmatch(re.sub(r"\.index|\.json$", "", file))
    return (match[1] or match[3] or "", match[2]) if match else None


def _suffix(component: str, loading: Loading) -> str:
    """The suffix of the weights that are read of a component."""
    return "bin" if component in loading.allow_pickle else "safetensors"


def _is_read(path: str, components: Collection[str], loading: Loading) -> bool:
    """Whether a file is read: of a network its configuration and one copy of its weights, of others all."""
    component, _, file = path.partition("/")
    if component not in components or not component.startswith(NETWORKS):
        return component in components
    return file == "config.json" or _weights(file) == (loading.variant or "", _suffix(component, loading))


def check_files(name: str, files: Collection[str], components: Collection[str], loading: Loading) -> None:
    """Raise RnriError, with the option to give, where files lack a component, or the weights that are to be read."""
    if unknown := sorted(set(loading.allow_pickle) - set(components)):
        raise RnriError(f"{name} has no component {unknown[0]!r}", hint=f"it has {', '.join(components)}")
    pickles, variants = [], {}
    for component in components:
        inside = [path.removeprefix(f"{component}/") for path in files if path.startswith(f"{component}/")]
        if not inside:
            raise RnriError(
                f"{name}: its {component} cannot be loaded (it has no folder {component})", hint="use a whole copy"
            )
        copies = [copy for copy in map(_weights, inside) if copy]
        read = {variant for variant, suffix in copies if suffix == _suffix(component, loading)}
        if read:
            variants[component] = read
        elif copies and component in loading.allow_pickle:
            raise RnriError(f"{name}: its {component} is no pickle", hint=f"leave --allow-pickle {component} out")
        elif copies:
            pickles.append(component)
    if pickles:
        allowed = (*loading.allow_pickle, *pickles)
        options = " ".join(f"--allow-pickle {component}" for component in allowed)
        raise RnriError(
            f"{name}: its {' and '.join(pickles)} cannot be loaded (pickles may run code)",
            hint=f"if you trust them, use {options}, in Python Loading(allow_pickle={allowed})",
        )
    _check_variant(name, variants, loading.variant or "")


def _check_variant(name: str, variants: Mapping[str, set[str]], wanted: str) -> None:
    """Raise RnriError, with the option to give, where a component lacks the variant that is wanted, "" being none."""
    lacking = [component for component, present in variants.items() if wanted not in present]
    if not lacking:
        return
    shared = sorted(set.intersection(*variants.values()))
    cure = f"use --variant {shared[0]}, in Python Loading(variant={shared[0]!r})" if shared else "use another model"
    if "" in shared:
        cure = "leave --variant out"
    present = " or ".join(sorted(variants[lacking[0]]))
    reason = f"it has no weights of variant {wanted}" if wanted else f"its only weights are of variant {present}"
    raise RnriError(f"{name}: its {lacking[0]} cannot be loaded ({reason})", hint=cure)


@contextmanager
def downloading(name: str, problem: str, hint: str = "", *, what: str = "") -> Iterator[None]:
    """Show the progress of a download from the Hub, and raise its failure as an RnriError of one line.

    The failure may be of the Hub's client, of the HTTP library under it, or of the system.

    Args:
        name: the repository, `owner/name`.
        problem: the error where it lacks the file, after its name.
        hint: the cure of that.
        what: the beginning of all errors.

    >>> with downloading("owner/name", "lacks the file"):
    ...     raise ConnectionResetError("peer closed the connection")
    Traceback (most recent call last):
    rnri_core.errors.RnriError: the Hub does not give owner/name (ConnectionResetError: peer closed the connection): ...
    """
    try:
        with quiet(bars=True):
            yield
    except RnriError:
        raise
    except Exception as error:
        login = "run 'hf auth login'"
        offline = (f"{name} is not downloaded and the Hub is out of reach", "connect, or give a folder")
        known = {
            "GatedRepoError": (f"{name} is gated", f"accept its terms at {_HUB}/{name}, then {login}"),
            "RepositoryNotFoundError": (f"the Hub has no {name}, or it is private", f"check the name, or {login}"),
            "HFValidationError": (f"{name} is no folder, and no name on the Hub such as owner/name", ""),
            "LocalEntryNotFoundError": offline,
            "OfflineModeIsEnabled": offline,
            "EntryNotFoundError": (f"{name} {problem}", hint),
        }
        line, kinds = first_line(error), [kind.__name__ for kind in type(error).__mro__]
        reason = line if line == kinds[0] else f"{kinds[0]}: {line}"
        other = (f"the Hub does not give {name} ({reason})", "try again, or give a folder")
        problem, hint = next((known[kind] for kind in kinds if kind in known), other)
        raise RnriError(what + problem, hint=hint) from error


def pipeline_class(name: str, folder: Path) -> str:
    """The pipeline class that a checkpoint's index names; RnriError if there is none."""
    try:
        kind = json.loads((folder / "model_index.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RnriError(f"{name} is not a model", hint="it needs a model_index.json, as diffusers writes it") from error
    if not isinstance(kind, str):
        raise RnriError(f"{name}: its pipeline is code of its own ({kind}), which is not run", hint="use another")
    return kind


def load_components(
    name: str, folder: Path, accepted: Mapping[str, tuple[str | None, ...]], dtype: torch.dtype, loading: Loading
) -> dict[str, Any]:
    """Load the components in a folder of the layout of diffusers.

    Args:
        name: the model's name, for errors.
        folder: where its `model_index.json` is.
        accepted: component → the classes it may have, `None` where it may be missing, nothing where any will do.
        dtype: precision of the networks.
        loading: variant, and the components that may be read from pickles.

    Returns:
        The components by name, and the pipeline's settings that stand beside them in the index.

    Raises:
        RnriError: naming the component that is missing, incomplete, damaged, code of its own, or of another family.
    """
    index = json.loads((folder / "model_index.json").read_text())
    settings = {key: value for key, value in index.items() if not isinstance(value, list) and not key.startswith("_")}
    classes = {}
    for component, kinds in accepted.items():
        library, kind = (index.get(component) or ("", None))[:2]
        if kind not in kinds and not (kind and not kinds):
            known = " or ".join(each for each in kinds if each) or "there"
            raise RnriError(f"{name}: its {component} is {kind}, not {known}", hint="use another model")
        if kind is not None:
            classes[component] = _class(name, component, library, kind)
    check_files(name, [path.relative_to(folder).as_posix() for path in folder.glob("*/*")], classes, loading)
    return settings | {each: _load(name, folder / each, kind, dtype, loading) for each, kind in classes.items()}


def assemble(pipeline: str, components: Mapping[str, Any]) -> Any:
    """A pipeline of diffusers, by the name of its class, of these components and settings; others are `None`.

    The scheduler is registered afterwards, as constructors of pipelines change its settings.
    """
    import diffusers

    with quiet():
        kind = getattr(diffusers, pipeline)
    parameters = inspect.signature(kind.__init__).parameters
    required = [name for name, each in parameters.items() if name != "self" and each.default is inspect.Parameter.empty]
    arguments = {name: value for name, value in components.items() if name in parameters and name != "scheduler"}
    with threads.WARNING_FILTERS, quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its warnings of settings do not concern the components
        pipe = kind(**{**dict.fromkeys(required), **arguments})
    pipe.register_modules(scheduler=components["scheduler"])
    return pipe


def _class(name: str, component: str, library: str, kind: str) -> Any:
    """The class that a checkpoint's index names."""
    if library not in LIBRARIES:
        raise RnriError(
            f"{name}: its {component} is code of its own ({library}.{kind}), which is not run", hint="use another"
        )
    try:
        with quiet():
            return getattr(import_module(library), kind)
    except (AttributeError, ImportError, RuntimeError) as error:
        raise RnriError(
            f"{name}: its {component} is {kind}, which this {library} lacks", hint=f"pip install -U {library}"
        ) from error


def _load(name: str, folder: Path, kind: Any, dtype: torch.dtype, loading: Loading) -> Any:
    """One component; RnriError in one line if a file is missing, damaged or does not fill it."""
    component = folder.name
    if any(folder.glob("*.model")) and not (folder / "tokenizer.json").is_file():
        for module in ("sentencepiece", "google.protobuf"):
            needs(module, "text", f"{name}: its {component}")
    try:
        if not issubclass(kind, torch.nn.Module):
            with quiet():
                loaded = kind.from_pretrained(folder, local_files_only=True)
            _check_vocabulary(loaded, folder)
            return loaded
        network, missing = load_network(
            kind,
            folder,
            local_files_only=True,
            torch_dtype=dtype,
            variant=loading.variant,
            use_safetensors=component not in loading.allow_pickle,
            low_cpu_mem_usage=find_spec("accelerate") is not None,
        )
    except Exception as error:  # of the files: each library has its own
        raise RnriError(f"{name}: its {component} cannot be loaded ({first_line(error)})") from error
    if missing:
        raise RnriError(f"{name}: its {component} lacks {len(missing)} weight tensors", hint="get a whole copy")
    return network


def load_network(kind: Any, source: str | Path, *, bars: bool = False, **options: Any) -> tuple[Any, list[str]]:
    """A network by its class's `from_pretrained`, frozen and in evaluation mode, and the names of weights it lacks.

    Weights start random before they are filled; the global random state is left alone. `bars` are those of downloads.
    """
    with threads.loading(), torch.random.fork_rng(devices=[]), quiet(bars=bars):
        network, report = kind.from_pretrained(source, output_loading_info=True, **options)
    return network.requires_grad_(False).eval(), sorted(report["missing_keys"])


def _check_vocabulary(tokenizer: Any, folder: Path) -> None:
    """Raise RnriError for a tokenizer without the files of its vocabulary: it would be made without any."""
    names = dict(getattr(tokenizer, "vocab_files_names", {}))
    whole = names.pop("tokenizer_file", None)
    if not whole or (folder / whole).is_file():
        return
    lacking = [name for name in names.values() if not (folder / name).is_file()]
    if lacking or len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise RnriError(f"{(lacking or [whole])[0]} is missing")
