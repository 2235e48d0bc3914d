"""Quality of the embedded models: their pictures of held-out captions, read by the attribute reader.

    reader        share of the attributes of true renders that are read right
    autoencoder   PSNR of true renders there and back; attributes read from the reconstruction as from the render,
                  and as they truly are
    generation    attributes of pictures generated from canonical captions, read as the caption states

Held-out scenes share no description with those that the networks were trained on (:mod:`rnri.scenes.splits`).
"""

from __future__ import annotations

import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from rnri_core.errors import RnriError
from torch import Tensor

from rnri import images, models
from rnri.editing.editor import Editor
from rnri.evaluation.records import to_json
from rnri.evaluation.statistics import Estimate, require
from rnri.metrics.psnr import CEILING, psnr
from rnri.models import Defaults, Model
from rnri.scenes.attributes import Attribute, attributes
from rnri.scenes.captions import caption
from rnri.scenes.reader import Reader
from rnri.scenes.render import render
from rnri.scenes.scene import Scene
from rnri.scenes.splits import split

Attributes = tuple[Attribute, ...]
Progress = Callable[[str, int, int], None]
"""Called with the stage, how many of its pictures are done, and how many there are."""

BATCH = 8


@dataclass(frozen=True)
class Accuracy:
    """Share of attributes read right: over all, by kind of attribute and by style.

    ``low`` and ``high`` bound a 95 % interval of ``share``, by resampling whole pictures. At places without an item
    only ``present`` counts; an item that is missing or not expected makes all attributes of its place wrong.
    """

    images: int
    share: float
    low: float
    high: float
    attributes: Mapping[str, float]
    styles: Mapping[str, float]

    @classmethod
    def of(cls, truths: Sequence[Attributes], readings: Sequence[Attributes]) -> Accuracy:
        """Compare the attributes read from pictures with their true ones.

        Raises ``RnriError`` unless there is one reading for each truth, and at least one.

        >>> from rnri.scenes.scene import Item
        >>> one = Scene((Item("ball", "red", "metal", "small"), None, None), "sand", "sunset")
        >>> two = Scene((Item("ball", "red", "glass", "small"), None, None), "sand", "sunset")
        >>> accuracy = Accuracy.of([attributes(one)], [attributes(two)])
        >>> accuracy.share, accuracy.attributes["material"], accuracy.attributes["present"]
        (0.9, 0.0, 1.0)
        """
        if not truths or len(truths) != len(readings):
            raise RnriError(f"{len(readings)} readings of {len(truths)} pictures; give one for each, at least one")
        per_image = np.zeros((len(truths), 2))
        kinds, styles = defaultdict[str, list[bool]](list), defaultdict[str, list[bool]](list)
        for index, (truth, reading) in enumerate(zip(truths, readings, strict=True)):
            for kind, same in _compared(truth, reading):
                per_image[index] += same, 1
                kinds[kind].append(same)
                styles[truth[-1].value].append(same)
        share = Estimate.share(*per_image.T.tolist())
        return cls(
            images=len(truths),
            share=share.value,
            low=share.low,
            high=share.high,
            attributes={kind: float(np.mean(same)) for kind, same in sorted(kinds.items())},
            styles={style: float(np.mean(same)) for style, same in sorted(styles.items())},
        )


@dataclass(frozen=True)
class Autoencoding:
    """Pictures encoded and decoded: mean PSNR in dB, and accuracy of the reader on the result."""

    psnr_db: float
    against_truth: Accuracy
    against_render: Accuracy


@dataclass(frozen=True)
class ModelReport:
    """One model on held-out scenes with these steps and guidance; ``seconds`` to generate and read a picture."""

    model: str
    fingerprint: str
    settings: Defaults
    autoencoder: Autoencoding
    generation: Accuracy
    seconds: float


@dataclass(frozen=True)
class EmbeddedReport:
    """The whole measurement, and the settings that repeat it."""

    limit: int
    seed: int
    reader: Accuracy
    models: tuple[ModelReport, ...]
    device: str
    machine: str
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """The report as one line of JSON, its field names as here."""
        return to_json(self)


def embedded(
    names: Sequence[str] = ("scenes", "scenes-turbo"),
    *,
    limit: int = 200,
    seed: int = 0,
    settings: Mapping[str, Defaults] | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
) -> EmbeddedReport:
    """Measure the attribute reader and models on held-out scenes.

    Args:
        names: models or folders.
        limit: number of scenes, from 1; a larger one only adds pictures.
        seed: picture ``i`` is generated from the noise of ``seed`` + ``i``, whatever its batch.
        settings: steps and guidance of models, in place of their own.
        device: of the models.
        progress: called after each batch.

    Raises:
        RnriError: for a ``limit`` below 1, and for models that cannot be loaded.
    """
    require()
    if limit < 1:
        raise RnriError(f"limit={limit} is out of range", hint="measure at least 1 scene", field="limit")
    reader, scenes = Reader.load(), split("heldout", limit)
    editors = {name: Editor(models.load(name, device=device)) for name in names}
    truths = [attributes(scene) for scene in scenes]
    readings = [read for part in _rendered(scenes, 128, "reader", progress) for read in reader.read(part)]
    reports = []
    for name, editor in editors.items():
        defaults = (settings or {}).get(name) or editor.model.defaults
        autoencoder = _autoencoding(name, editor.model, reader, scenes, progress)
        start = time.perf_counter()
        generated = list(_generated(name, editor, reader, scenes, defaults, seed, progress))
        seconds = (time.perf_counter() - start) / limit
        generation = Accuracy.of(truths, generated)
        reports.append(ModelReport(name, editor.model.fingerprint, defaults, autoencoder, generation, seconds))
    return EmbeddedReport(
        limit=limit,
        seed=seed,
        reader=Accuracy.of(truths, readings),
        models=tuple(reports),
        device=str(next((editor.model.device for editor in editors.values()), "cpu")),
        machine=f"{platform.system()} {platform.machine()}",
        versions={package: version(package) for package in ("rnri", "torch", "diffusers", "transformers")},
    )


def confusions(truths: Sequence[Attributes], readings: Sequence[Attributes]) -> Counter[tuple[str, str, str]]:
    """How often each (kind, true value, value read) occurs where they differ; whole items missed count as presence.

    >>> from rnri.scenes.scene import Item
    >>> one = Scene((Item("ball", "red", "metal", "small"), None, None), "sand", "sunset")
    >>> confusions([attributes(one)], [attributes(one.put("left", Item("gem", "red", "metal", "small")))])
    Counter({('shape', 'ball', 'gem'): 1})
    """
    return Counter(
        (truth.name.rpartition(".")[2], truth.value, read.value)
        for pair in zip(truths, readings, strict=True)
        for truth, read in zip(*pair, strict=True)
        if truth != read and ("none" not in (truth.value, read.value))
    )


def _compared(truth: Attributes, reading: Attributes) -> Iterator[tuple[str, bool]]:
    """Kind of each attribute that counts, and whether it is read right."""
    for expected, read in zip(truth, reading, strict=True):
        if expected.value != "none":
            yield expected.name.rpartition(".")[2], expected == read


def _batches(scenes: Sequence[Scene], stage: str, progress: Progress | None) -> Iterator[tuple[int, Sequence[Scene]]]:
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        yield start, part
        if progress:
            progress(stage, start + len(part), len(scenes))


def _rendered(scenes: Sequence[Scene], side: int, stage: str, progress: Progress | None) -> Iterator[Tensor]:
    for _, part in _batches(scenes, stage, progress):
        yield torch.cat([images.read(render(scene, side)) for scene in part])


def _autoencoding(
    name: str, model: Model, reader: Reader, scenes: Sequence[Scene], progress: Progress | None
) -> Autoencoding:
    decibels: list[float] = []
    before: list[Attributes] = []
    after: list[Attributes] = []
    for pixels in _rendered(scenes, model.image_size[0], f"{name}: autoencoder", progress):
        again = model.decode(model.encode(pixels)).cpu()
        decibels += psnr(again, pixels).clamp(max=CEILING).tolist()
        before += reader.read(pixels)
        after += reader.read(again)
    truths = [attributes(scene) for scene in scenes]
    return Autoencoding(float(np.mean(decibels)), Accuracy.of(truths, after), Accuracy.of(before, after))


def _generated(
    name: str,
    editor: Editor,
    reader: Reader,
    scenes: Sequence[Scene],
    defaults: Defaults,
    seed: int,
    progress: Progress | None,
) -> Iterator[Attributes]:
    for start, part in _batches(scenes, f"{name}: generation", progress):
        prompts = [caption(scene) for scene in part]
        pictures = editor.generate(prompts, steps=defaults.steps, guidance=defaults.guidance, seed=seed + start)
        yield from reader.read(torch.cat([images.read(picture) for picture in pictures]))
