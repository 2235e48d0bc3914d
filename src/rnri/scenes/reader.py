"""The attribute reader: a small network that classifies a picture of a scene, attribute by attribute.

The camera and the three places are fixed. So one convolutional trunk reads the whole picture, and one head, the same
for every place, reads the window of the trunk's columns around that place, with the pooled whole as well: light and
style shift every colour. A second head reads ground, sky and style from the pooled whole::

    picture (3, 128, 128) → trunk (C, 16, 16) → pooled mean and peak (2C) → ground, sky, style
                                 └→ window (C, 10, 8) + pooled → present; shape, colour, material, size

An item's attribute is ``none`` with the probability that its place is empty, and ``v`` with the probability that it is
not times that of ``v`` among items. This module needs torch; the rest of :mod:`rnri.scenes` does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from rnri_core.errors import RnriError
from rnri_core.threads import running
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rnri.scenes.attributes import ATTRIBUTES, ITEM_ATTRIBUTES, NONE, SCENE_ATTRIBUTES, Attribute
from rnri.scenes.captions import caption
from rnri.scenes.scene import PLACES, Item, Scene

SIZE = 128
"""Side in pixels of the pictures the network reads; others are resized to it."""

WEIGHTS = Path(__file__).parents[1] / "weights" / "reader"
"""Folder of the shipped weights: ``config.json`` and ``reader.safetensors``."""

_ROWS = slice(3, 13)
"""Rows of the trunk's 16 that show items, their shadows and reflections."""
_COLUMNS = 8
"""Width of a place's window in columns of the trunk, each 8 pixels wide."""
_STARTS = (0, 5, 10)
"""First column of each place's window after one column is added on both sides, which centres each on its place."""

_ITEM_SIZES = (2, *map(len, ITEM_ATTRIBUTES.values()))
_SCENE_SIZES = tuple(map(len, SCENE_ATTRIBUTES.values()))


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class Network(nn.Module):
    """The reader's network: 0.8 million parameters, 0.1 GMAC a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(_conv(3, 32, 2), _conv(32, 64, 2), _conv(64, 64), _conv(64, 96, 2), _conv(96, 96))
        self.whole = nn.Sequential(nn.Linear(2 * 96, 96), nn.ReLU(), nn.Linear(96, sum(_SCENE_SIZES)))
        self.window = nn.Sequential(_conv(96, 128, 2), nn.Flatten(), nn.Dropout(0.1))
        self.near, self.context = nn.Linear(128 * 5 * 4, 160), nn.Linear(2 * 96, 160)
        self.item = nn.Sequential(nn.ReLU(), nn.Linear(160, sum(_ITEM_SIZES)))

    def forward(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Logits of pictures ``(B, 3, 128, 128)`` in [-1, 1], as (of items, of the whole).

        Items: ``(B, 3, 2)`` for absent and present, then ``(B, 3, n)`` for each of ``ITEM_ATTRIBUTES``, without
        ``none``. The whole: ``(B, n)`` for each of ``SCENE_ATTRIBUTES``.
        """
        features = self.trunk(images)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        padded = nn.functional.pad(features[:, :, _ROWS], (1, 1))
        windows = torch.stack([padded[..., start : start + _COLUMNS] for start in _STARTS], 1).flatten(0, 1)
        near = self.near(self.window(windows.contiguous(memory_format=torch.channels_last)))
        items = self.item(near.unflatten(0, (-1, len(PLACES))) + self.context(pooled)[:, None])
        return items.split(_ITEM_SIZES, -1), self.whole(pooled).split(_SCENE_SIZES, -1)


class Reader:
    """Reads pictures of scenes, one attribute at a time.

    >>> from rnri.scenes.render import render
    >>> scene = Scene((Item("cone", "red", "matte", "large"), None, None), "snow", "day")
    >>> picture = torch.from_numpy(render(scene)).permute(2, 0, 1)[None] / 127.5 - 1
    >>> Reader.load().describe(picture)
    'a large red matte cone on the left, on snow, by day'
    """

    def __init__(self, network: Network) -> None:
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: Path = WEIGHTS, *, device: str | torch.device = "cpu") -> Reader:
        """The shipped reader, or another that :meth:`save` wrote to ``folder``.

        Raises ``RnriError`` if the weights are missing, or were trained with other attributes.
        """
        if not (folder / "config.json").is_file():
            raise RnriError(f"{folder} holds no reader; train one with training.reader, or install the package anew")
        if json.loads((folder / "config.json").read_text())["attributes"] != _as_json(ATTRIBUTES):
            raise RnriError(f"the reader in {folder} was trained with other attributes; train it anew")
        with running(), torch.device("meta"):  # draws no random numbers
            network = Network()
        weights = {name: _widened(weight) for name, weight in load_file(folder / "reader.safetensors").items()}
        network.load_state_dict(weights, assign=True)
        return cls(network.to(device))

    def save(self, folder: Path = WEIGHTS) -> None:
        """Writes the network to ``folder``: weights in float16, running statistics in float32."""
        state = self.network.state_dict()
        kept = {name: weight.half() if "running" not in name else weight for name, weight in state.items()}
        kept |= {name: weight for name, weight in state.items() if not weight.is_floating_point()}
        folder.mkdir(parents=True, exist_ok=True)
        config = {"size": SIZE, "attributes": _as_json(ATTRIBUTES)}
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        save_file({name: weight.contiguous().cpu() for name, weight in kept.items()}, folder / "reader.safetensors")

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> dict[str, Tensor]:
        """For each name of ``ATTRIBUTES``, how likely each of its values is: ``(B, values)`` in their order.

        ``images`` is ``(B, 3, H, W)`` in [-1, 1]. Raises ``RnriError`` for any other shape.
        """
        items, whole = self.network(self._prepared(images))
        presence, *values = (logits.softmax(-1) for logits in items)
        absent, present = presence[..., :1], presence[..., 1:]
        per_place = [presence, *(torch.cat([absent, present * value], -1) for value in values)]
        tables = [table[:, place] for place in range(len(PLACES)) for table in per_place]
        tables += [logits.softmax(-1) for logits in whole]
        return dict(zip(ATTRIBUTES, tables, strict=True))

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """The trunk's features of pictures ``(B, 3, H, W)`` in [-1, 1], layer by layer, each ``(B, C, h, w)``.

        Raises ``RnriError`` for any other shape.
        """
        x, features = self._prepared(images), []
        for layer in self.network.trunk:
            x = layer(x)
            features.append(x)
        return features

    def read(self, images: Tensor) -> tuple[tuple[Attribute, ...], ...]:
        """The attributes of each of the pictures ``(B, 3, H, W)`` in [-1, 1], as :func:`attributes` gives a scene's.

        Where nothing stands the item's attributes are all ``none``, and nowhere else. See
        :func:`rnri.scenes.attributes.attributes`.
        """
        probabilities = self.probabilities(images)
        columns: dict[str, list[str]] = {}
        for name, values in ATTRIBUTES.items():
            place, _, kind = name.rpartition(".")
            if kind not in ITEM_ATTRIBUTES:
                columns[name] = [values[k] for k in probabilities[name].argmax(1).tolist()]
                continue
            likeliest = probabilities[name][:, 1:].argmax(1).tolist()
            present = columns[f"{place}.present"]
            columns[name] = [values[1 + k] if p == "yes" else NONE for k, p in zip(likeliest, present, strict=True)]
        return tuple(tuple(map(Attribute, ATTRIBUTES, row)) for row in zip(*columns.values(), strict=True))

    def scene(self, image: Tensor) -> Scene:
        """What one picture ``(3, H, W)`` or ``(1, 3, H, W)`` shows, as data; the seed, which it does not tell, is 0.

        Every scene holds an item: where every place reads empty, the one most likely to hold one is taken to.
        Raises ``RnriError`` for more than one picture.
        """
        images = image[None] if image.ndim == 3 else image
        if len(images) != 1:
            raise RnriError(f"{len(images)} pictures are not one scene; give them one by one")
        read = dict(self.read(images)[0])
        if all(read[f"{place}.present"] == "no" for place in PLACES):
            probabilities = {name: table[0] for name, table in self.probabilities(images).items()}
            place = max(PLACES, key=lambda place: float(probabilities[f"{place}.present"][1]))
            for kind, values in ITEM_ATTRIBUTES.items():
                read[f"{place}.{kind}"] = values[int(probabilities[f"{place}.{kind}"][1:].argmax())]
        return _scene(read)

    def describe(self, image: Tensor) -> str:
        """The canonical caption of what one picture ``(3, H, W)`` or ``(1, 3, H, W)`` in [-1, 1] shows."""
        return caption(self.scene(image))

    def _prepared(self, images: Tensor) -> Tensor:
        """Pictures as the network wants them."""
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise RnriError(f"pictures of shape {tuple(images.shape)} cannot be read; give (B, 3, H, W)")
        images = images.to(next(self.network.parameters()))
        if images.shape[2:] != (SIZE, SIZE):
            images = nn.functional.interpolate(images, (SIZE, SIZE), mode="bicubic", antialias=True).clamp(-1, 1)
        return images.contiguous(memory_format=torch.channels_last)


def _scene(read: Mapping[str, str]) -> Scene:
    def item(place: str) -> Item | None:
        values = {kind: read[f"{place}.{kind}"] for kind in ITEM_ATTRIBUTES}
        return None if NONE in values.values() else Item(**values)

    left, middle, right = map(item, PLACES)
    return Scene((left, middle, right), read["ground"], read["sky"], read["style"])


def _widened(weight: Tensor) -> Tensor:
    return weight.float() if weight.is_floating_point() else weight


def _as_json(table: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in table.items()}
