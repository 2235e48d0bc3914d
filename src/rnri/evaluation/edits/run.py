"""Every method on every edit of a set: what came of it, by metrics, and what it took.

A picture is written before the line that tells of it, so each line's picture is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from rnri_core.errors import RnriError
from torch import Tensor

from rnri import images
from rnri.baselines import Edited, method
from rnri.editing.editor import Editor
from rnri.evaluation.datasets import Dataset, Task
from rnri.evaluation.datasets.dataset import digest
from rnri.evaluation.records import Key
from rnri.metrics import Networks, metric

PICTURES = "pictures"
"""The folder of results, beside the lines: ``source``, ``truth`` and ``mask``, and one folder for each setting."""
MASK = "{mask}"
"""In a method's spec this stands for the file of each edit's own mask: ``inversion:controls='mask:mask={mask}'``."""


@dataclass(frozen=True)
class Setting:
    """One method on one set of edits with one model; ``data`` is the set's own description of itself.

    ``method`` is a spec of :func:`rnri.baselines.method` or one of the set's bounds, ``model`` a name or folder and
    ``fingerprint`` its weights. ``judges`` are the networks that metrics look through, where they are not the usual.
    """

    benchmark: str
    data: str
    model: str
    fingerprint: str
    method: str
    seed: int
    metrics: tuple[str, ...]
    judges: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where its pictures go: a name that says the method, and is no other setting's."""
        said = re.sub(r"[^A-Za-z0-9.]+", "-", self.method).strip("-")[:60]
        return f"{said}-{digest(str(getattr(self, each.name)).encode() for each in fields(self))}"


@dataclass(frozen=True)
class Measurement:
    """What came of one edit. ``scores`` has a number for each metric, ``None`` where it is undefined.

    ``kind`` and the prompts are the task's, ``picture`` is relative to the folder of the lines, and the rest is as in
    :class:`rnri.baselines.Edited`.
    """

    kind: str
    source_prompt: str
    target_prompt: str
    scores: Mapping[str, float | None]
    nfe: int
    njvp: int
    nvjp: int
    seconds: float
    residual: float | None
    status: str
    picture: str


class Edits:
    """Measures settings on the tasks of a set; for :func:`rnri.evaluation.records.run`. Pictures go to ``folder``."""

    def __init__(self, editor: Editor, dataset: Dataset, networks: Networks, folder: Path) -> None:
        self.editor, self.dataset, self.networks, self.folder = editor, dataset, networks, folder
        self.task = lru_cache(maxsize=2)(self._task)
        self._warm: set[torch.Size] = set()

    def settings(
        self, methods: Sequence[str], model: str, *, metrics: Sequence[str] = (), seeds: Sequence[int] = (0,)
    ) -> list[Setting]:
        """The set's bounds, then every method, with every seed.

        Raises ``ValueError`` for methods and metrics that are not known, for a method given twice, and where the
        weights of a metric are missing.
        """
        chosen = tuple(metrics or self.dataset.metrics)
        for n, spec in enumerate(methods):
            method(spec)
            if spec in methods[:n]:
                raise RnriError(f"method {spec!r} is given twice", hint="give each once")
        if not methods:
            raise RnriError("there is no method to measure", hint="give at least one")
        for name in chosen:
            self.networks.require(metric(name).needs)
        usual = asdict(Networks())
        others = asdict(self.networks).items()
        judges = tuple(f"{name}={value}" for name, value in others if value != usual[name] and name != "device")
        return [
            Setting(
                benchmark=self.dataset.name,
                data=self.dataset.about,
                model=model,
                fingerprint=self.editor.model.fingerprint,
                method=each,
                seed=seed,
                metrics=chosen,
                judges=judges,
            )
            for seed in seeds
            for each in (*(self.dataset.bounds if seed == seeds[0] else ()), *methods)
        ]

    def unserved(self, methods: Sequence[str], key: Key) -> dict[str, str]:
        """Those of the methods that the model cannot serve, and why: each is tried on one task."""
        task = self.task(key)
        reasons = {spec: self._refusal(spec, task) for spec in methods}
        return {spec: reason for spec, reason in reasons.items() if reason}

    def __call__(self, setting: Setting, keys: Sequence[Key]) -> list[Measurement]:
        """One measurement for each task."""
        return [self._one(setting, self.task(key)) for key in keys]

    def _one(self, setting: Setting, task: Task) -> Measurement:
        self._warm_up(task.source.shape)
        found = self._edited(setting, task)
        [picture] = found.pictures
        path = Path(PICTURES, setting.folder, f"{task.key}.png")
        self._write(picture, path)
        judged = task.judged(images.read(picture))
        return Measurement(
            kind=task.kind,
            source_prompt=task.source_prompt,
            target_prompt=task.target_prompt,
            scores={name: metric(name)(judged, self.networks) for name in setting.metrics},
            nfe=found.nfe,
            njvp=found.njvp,
            nvjp=found.nvjp,
            seconds=found.seconds,
            residual=found.residual,
            status=found.status,
            picture=path.as_posix(),
        )

    def _edited(self, setting: Setting, task: Task) -> Edited:
        if setting.method in self.dataset.bounds:
            return _drawn(task.source if setting.method == "unedited" else self._autoencoded(task))
        found = method(self._with_mask(setting.method, task))
        try:
            return found.edit(self.editor, task.source, task.source_prompt, [task.target_prompt], seed=setting.seed)
        except (ValueError, TypeError) as error:
            raise RnriError(f"{setting.method} on {task.key}", hint=f"{error}") from error

    def _refusal(self, spec: str, task: Task) -> str | None:
        try:
            made = method(self._with_mask(spec, task))
            made.edit(self.editor, task.source, task.source_prompt, [task.target_prompt])
        except (ValueError, TypeError) as error:
            return str(error)
        return None

    def _with_mask(self, spec: str, task: Task) -> str:
        """The spec with the file of the task's mask for ``{mask}``; nothing where there is none."""
        return spec.replace(MASK, "" if task.mask is None else str(self.folder / PICTURES / "mask" / f"{task.key}.png"))

    def _autoencoded(self, task: Task) -> Tensor:
        model = self.editor.model
        wanted = task.source if task.truth is None else task.truth
        height, width = wanted.shape[2:]
        inside = images.fit((height, width), model.image_size, model.multiple)
        pixels = model.decode(model.encode(images.resize(wanted, inside).to(model.device)))
        return images.resize(pixels.cpu(), (height, width))

    def _task(self, key: Key) -> Task:
        task = self.dataset.task(key)
        self._write(task.source, Path(PICTURES, "source", f"{key}.png"))
        if task.truth is not None:
            self._write(task.truth, Path(PICTURES, "truth", f"{key}.png"))
        if task.mask is not None:
            self._write(task.mask.float().mul(2).sub(1).expand_as(task.source), Path(PICTURES, "mask", f"{key}.png"))
        return task

    def _warm_up(self, shape: torch.Size) -> None:
        """What a first call of the networks takes is nobody's cost."""
        if shape in self._warm:
            return
        self._warm.add(shape)
        model = self.editor.model
        size = images.fit((shape[2], shape[3]), model.image_size, model.multiple)
        latents = model.encode(torch.zeros(1, 3, *size, device=model.device))
        generator = torch.Generator().manual_seed(0)
        step = model.schedule(model.defaults.steps, generator=generator, shape=model.latent_shape(size))[-1]
        model.decode(step.denoise(model.denoiser(model.embed(["a"])), latents))

    def _write(self, picture: Any, path: Path) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        images.write(picture, self.folder / path, overwrite=True)


def _drawn(pixels: Tensor) -> Edited:
    """A picture that no method made."""
    return Edited(images.to_pil(pixels), nfe=0, njvp=0, nvjp=0, seconds=0.0, residual=None, status="NOT_SOLVED")
