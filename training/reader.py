"""The attribute reader, trained on rendered scenes: cross entropy of every attribute that a picture has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from rnri.evaluation.embedded import Accuracy, confusions
from rnri.scenes.attributes import ITEM_ATTRIBUTES, attributes
from rnri.scenes.reader import Network, Reader
from rnri.scenes.scene import PLACES, STYLES, Scene
from training import cache
from training.autoencoder import pixels
from training.loop import fit, report
from training.text import labels

MIRRORED = 0.3
"""Share of pictures shown mirrored, with left and right exchanged in their labels: their light is never seen so."""
_NOISE = 0.04
_GAIN = 0.04

_PER_ITEM = 1 + len(ITEM_ATTRIBUTES)


def train(folder: Path, *, steps: int, batch: int = 32, rate: float = 2e-3) -> Network:
    """Train on the cached pictures of the training split, slightly moved, softened and noisy."""
    images, scenes, keep = cache.load(folder)
    truth = labels(scenes)

    def loss(model: nn.Module, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        index = torch.randint(len(keep), (batch,), generator=generator)
        x, target = augment(pixels(images[keep[index.numpy()]]), truth[index], generator)
        items, whole = model(x.contiguous(memory_format=torch.channels_last))
        target = target.to(x.device)
        per_item, per_scene = _parts(target)
        present = per_item[..., 0] > 0
        losses = [cross_entropy(items[0].flatten(0, 1), per_item[..., 0].flatten())]
        # `none` is the first value of an item's attributes, and no class of the network's.
        losses += [cross_entropy(items[k][present], per_item[..., k][present] - 1) for k in range(1, _PER_ITEM)]
        losses += [cross_entropy(guess, per_scene[:, k]) for k, guess in enumerate(whole)]
        right = [
            (items[k][present].argmax(1) == per_item[..., k][present] - 1).float().mean() for k in range(1, _PER_ITEM)
        ]
        names = [*ITEM_ATTRIBUTES]
        return torch.stack(losses).sum(), {name: value.item() for name, value in zip(names, right, strict=True)}

    torch.manual_seed(4)
    trained = fit("reader", Network(), loss, folder / "reader", steps=steps, rate=rate, seed=4, average=0.998)
    assert isinstance(trained, Network)
    return trained


def _parts(target: Tensor) -> tuple[Tensor, Tensor]:
    """Labels ``(B, attributes)`` as those of items ``(B, places, 5)`` and those of the whole ``(B, 3)``."""
    items, whole = target.tensor_split([len(PLACES) * _PER_ITEM], 1)
    return items.reshape(len(items), len(PLACES), _PER_ITEM), whole


def augment(x: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures as an autoencoder or a generator might draw them: off by a pixel and a shade, some softened, some noisy.

    Some are mirrored, and the labels of their places with them.
    """
    count, _, height, width = x.shape

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator).to(x.device)

    x = x * (1 + _GAIN * (2 * uniform() - 1)) + _GAIN * (2 * uniform() - 1)
    even, first = x[::2], x[: count // 2]
    even += uniform()[::2] * (avg_pool2d(even, 3, 1, 1, count_include_pad=False) - even)
    first += _NOISE * uniform()[: count // 2] * torch.randn(first.shape, generator=generator).to(x.device)
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    dy, dx = torch.randint(3, (2, count), generator=generator).tolist()
    x = torch.stack([padded[i, :, a : a + height, b : b + width] for i, (a, b) in enumerate(zip(dy, dx, strict=True))])
    mirrored = torch.rand(count, generator=generator) < MIRRORED
    items, whole = _parts(target)
    swapped = torch.cat([items.flip(1).flatten(1), whole], 1)
    return torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(-1), x), torch.where(
        mirrored[:, None], swapped, target
    )


def examine(reader: Reader, images: np.ndarray, scenes: list[Scene]) -> Accuracy:
    """Print what the reader gets wrong of ``scenes`` shown by uint8 ``images``, and return how much it gets right."""
    truths = [attributes(scene) for scene in scenes]
    readings = [
        read for part in np.array_split(images, len(images) // 50 + 1) for read in reader.read(pixels(part).cpu())
    ]
    accuracy = Accuracy.of(truths, readings)
    report("reader", len(scenes), len(scenes), share=accuracy.share, low=accuracy.low, high=accuracy.high)
    report("reader by attribute", len(scenes), len(scenes), **accuracy.attributes)
    for style in STYLES:
        chosen = [k for k, scene in enumerate(scenes) if scene.style == style]
        if chosen:
            part = Accuracy.of([truths[k] for k in chosen], [readings[k] for k in chosen])
            report(f"reader by attribute, {style}", len(chosen), len(chosen), share=part.share, **part.attributes)
    for (kind, true, read), count in confusions(truths, readings).most_common(12):
        report(f"reader takes {kind} {true} for {read}", count, len(scenes))
    return accuracy
