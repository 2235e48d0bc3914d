"""What to cite: the publications that a method and a model come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

from rnri_core.errors import RnriError
from rnri_core.inversion.presets import INVERTERS, PRESETS
from rnri_core.registry import Source
from rnri_core.solvers import Method
from rnri_core.solvers import solver as find_solver


class Named(Protocol):
    """A loaded model, as far as citing goes."""

    @property
    def name(self) -> str:
        """The embedded name, the folder, or the Hub id it was loaded by."""


def citation(method: Method | str, model: Named | str | None = None) -> str:
    """The BibTeX entries of the publications a method comes from and, if one is given, of that a model comes from.

    ``method`` is a solver, its spec, a preset, or an editing method such as ``edict``; ``model`` a loaded model, an
    embedded model's name, a folder, or the class of a pipeline. Raises ``ValueError`` for names that are not known and
    for models without a publication.

    >>> print(citation("gnri").splitlines()[0])
    @inproceedings{samuel2025gnri,
    >>> [line for line in citation("chebyshev", "scenes").splitlines() if line.startswith("@")]
    ['@article{golub1961chebyshev,', '@inproceedings{rombach2022latent,']
    >>> [line for line in citation("anderson").splitlines() if line.startswith("@")]
    ['@article{walker2011anderson,', '@inproceedings{pan2023aidi,']
    """
    sources = _of_method(method)
    if model is not None:
        sources.append(_of_model(model if isinstance(model, str) else model.name))
    return "\n\n".join(source.bibtex() for source in sources)


def _of_method(method: Method | str) -> list[Source]:
    if not isinstance(method, str):
        return [method.source, *method.further]
    if method in PRESETS:
        preset = PRESETS[method]
        return _of_method(preset.solver) + ([INVERTERS["edit-friendly"].source] if preset.edit_friendly_from else [])
    from rnri.baselines import METHODS  # loads the editor, which solvers do without

    name = method.partition(":")[0]
    return [METHODS[name].source, *METHODS[name].further] if name in METHODS else _of_method(find_solver(method))


def _of_model(name: str) -> Source:
    from rnri.models import EMBEDDED, MODELS, serving

    pipeline = "StableDiffusionPipeline" if name in EMBEDDED else name
    index = Path(name) / "model_index.json"
    if index.is_file():
        try:
            pipeline = str(json.loads(index.read_text())["_class_name"])
        except (ValueError, KeyError, TypeError):
            raise RnriError(f"{index} is damaged", hint="it should name the pipeline's _class_name") from None
    source = serving(pipeline).source if pipeline in MODELS else None
    if source is None:
        known = ", ".join(each for each in MODELS if serving(each).source)
        raise RnriError(
            f"no publication is known of {pipeline}",
            hint=f"cite what its card says, or give {', '.join(EMBEDDED)}, a folder, or one of {known}",
        )
    return source
