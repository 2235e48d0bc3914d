"""Every method on every edit of a set: the result by metrics, and its cost.

A picture is written before its line, so each line's picture is on the disk.
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
from rnri.baselines import MethodResult, method
from rnri.baselines.base import EditCost
from rnri.editing.editor import Editor
from rnri.evaluation.datasets import Dataset, Task
from rnri.evaluation.datasets.dataset import digest
from rnri.evaluation.records import Key, Line, Records
from rnri.metrics import Networks, metric

PICTURES = "pictures"
"""The folder of results, beside the lines: ``source``, ``truth`` and ``mask``, and one folder for each setting."""
MASK = "{mask}"
"""In a method's spec this stands for the file of each edit's own mask: ``inversion:controls='mask:mask={mask}'``."""


@dataclass(frozen=True)
class MethodSetting:
    """One method on one set of edits with one model.

    Attributes:
        benchmark, data: name of the set, and its own description of its pictures.
        model, fingerprint: name or folder of the model, and its weights.
        method: a spec of :func:`rnri.baselines.method`, or one of the set's bounds.
        seed: of all noise.
        metrics: names.
        judges: networks of metrics that are not the default ones, as ``name=value``.
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
        """Folder of its pictures: the method, and a digest that no other setting has."""
        name = re.sub(r"[^A-Za-z0-9.]+", "-", self.method).strip("-")[:60]
        return f"{name}-{digest(str(getattr(self, each.name)).encode() for each in fields(self))}"


@dataclass(frozen=True, kw_only=True)
class EditMeasurement(EditCost):
    """The result of one edit, beside its cost.

    Attributes:
        kind, source_prompt, target_prompt: of the task.
        scores: a number for each metric, ``None`` where it is undefined.
        picture: file of the result, relative to the folder of the lines.
    """

    kind: str
    source_prompt: str
    target_prompt: str
    scores: Mapping[str, float | None]
    picture: str


EditLine = Line[MethodSetting, EditMeasurement]
EDITS = Records("edits.jsonl", MethodSetting, EditMeasurement)


class Edits:
    """Measures settings on the tasks of a set, for :meth:`Records.extend`; pictures go to ``folder``."""

    def __init__(self, editor: Editor, dataset: Dataset, networks: Networks, folder: Path) -> None:
        self.editor, self.dataset, self.networks, self.folder = editor, dataset, networks, folder
        self.task = lru_cache(maxsize=2)(self._task)
        self._warm: set[torch.Size] = set()

    def settings(
        self, methods: Sequence[str], model: str, *, metrics: Sequence[str] = (), seeds: Sequence[int] = (0,)
    ) -> list[MethodSetting]:
        """The set's bounds, then every method, with every seed.

        Raises ``RnriError`` for an unknown method or metric, a method given twice, and missing weights of a metric.
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
        default = asdict(Networks())
        used = asdict(self.networks).items()
        judges = tuple(f"{name}={value}" for name, value in used if value != default[name] and name != "device")
        return [
            MethodSetting(
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
        """The methods that the model cannot serve, with the reasons; each is tried on one task."""
        task = self.task(key)
        reasons = {spec: self._refusal(spec, task) for spec in methods}
        return {spec: reason for spec, reason in reasons.items() if reason}

    def __call__(self, setting: MethodSetting, keys: Sequence[Key]) -> list[EditMeasurement]:
        """One measurement for each task."""
        return [self._one(setting, self.task(key)) for key in keys]

    def _one(self, setting: MethodSetting, task: Task) -> EditMeasurement:
        self._warm_up(task.source.shape)
        result = self._edited(setting, task)
        [picture] = result.pictures
        path = Path(PICTURES, setting.folder, f"{task.key}.png")
        self._write(picture, path)
        judged = task.judged(images.read(picture))
        return EditMeasurement(
            kind=task.kind,
            source_prompt=task.source_prompt,
            target_prompt=task.target_prompt,
            scores={name: metric(name)(judged, self.networks) for name in setting.metrics},
            picture=path.as_posix(),
            **{each.name: getattr(result, each.name) for each in fields(EditCost)},
        )

    def _edited(self, setting: MethodSetting, task: Task) -> MethodResult:
        if setting.method in self.dataset.bounds:
            pixels = task.source if setting.method == "unedited" else self._autoencoded(task)
            return MethodResult(pictures=images.to_pil(pixels), nfe=0, seconds=0.0)
        try:
            return self._by(setting.method, task, setting.seed)
        except (ValueError, TypeError) as error:
            raise RnriError(f"{setting.method} on {task.key}", hint=f"{error}") from error

    def _refusal(self, spec: str, task: Task) -> str | None:
        try:
            self._by(spec, task, seed=0)
        except (ValueError, TypeError) as error:
            return str(error)
        return None

    def _by(self, spec: str, task: Task, seed: int) -> MethodResult:
        """The edit by a method, with the file of the task's mask, if any, for ``{mask}``."""
        mask = "" if task.mask is None else str(self.folder / PICTURES / "mask" / f"{task.key}.png")
        editing = method(spec.replace(MASK, mask))
        return editing.edit(self.editor, task.source, task.source_prompt, [task.target_prompt], seed=seed)

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
        """Call the networks once on each shape, so that no method is charged for the first call."""
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
