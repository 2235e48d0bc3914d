"""PIE-Bench as it is published (Ju et al. 2024, "Direct Inversion"): 700 edits of pictures, with masks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from rnri_core.errors import RnriError
from torch import Tensor

from rnri import images
from rnri.evaluation.datasets.dataset import Dataset, Task, contents, digest, in_turn
from rnri.evaluation.datasets.scenes import TYPES
from rnri.evaluation.records import Key

SIDE = 512
"""Height and width of every picture and mask, in pixels."""
MAPPING, PICTURES = "mapping_file.json", "annotation_images"


@dataclass(frozen=True)
class PieRecord:
    """One edit of the mapping file; ``mask`` is of runs, see :func:`mask`."""

    image_path: str
    original_prompt: str
    editing_prompt: str
    editing_type_id: str
    mask: Sequence[int]


class Pie(Dataset):
    """The folder that holds ``mapping_file.json`` and ``annotation_images``.

    Tasks come in turn of the ten types. Prompts lose the brackets round changed words, not the words. Raises
    ``RnriError`` for a folder of another layout, and for pictures that are not 512×512.
    """

    name = "pie"
    metrics = (
        "structure_distance",
        "psnr_unedit_part",
        "lpips_unedit_part",
        "mse_unedit_part",
        "ssim_unedit_part",
        "clip_similarity_source_image",
        "clip_similarity_target_image",
        "clip_similarity_target_image_edit_part",
        "structure",
        "psnr-background",
        "lpips-squeeze-background",
        "mse-background",
        "ssim-background",
        "clip-edited",
    )
    goal, keep = "clip_similarity_target_image", "lpips_unedit_part"
    pixels, rank = "psnr_unedit_part", "clip_similarity_target_image"
    bounds = ("unedited", "autoencoded")

    def __init__(self, root: Path) -> None:
        self.root, path = root, root / MAPPING
        text = contents(path, f"give PIE-Bench's folder, which holds {MAPPING} and {PICTURES}")
        self.records = _records(text, path)
        self._digest = digest([text])

    @property
    def about(self) -> str:
        """How many edits there are, and a digest of the mapping file."""
        return f"PIE-Bench, {len(self.records)} edits, mapping {self._digest}"

    @property
    def keys(self) -> Sequence[Key]:
        """The twelve digits of each record, types in turn."""
        types = defaultdict[str, list[Key]](list)
        for key, record in self.records.items():
            types[record.editing_type_id].append(key)
        return in_turn({kind: types[kind] for kind in sorted(types)})

    def task(self, key: Key) -> Task:
        """The edit of this record."""
        record = self.records[str(key)]
        path = self.root / PICTURES / record.image_path
        source = images.read(path)
        if tuple(source.shape[2:]) != (SIDE, SIDE):
            height, width = source.shape[2:]
            raise RnriError(f"{path} is {width}×{height}", hint=f"PIE-Bench's pictures and masks are {SIDE}×{SIDE}")
        number = record.editing_type_id
        return Task(
            key,
            source,
            without_brackets(record.original_prompt),
            without_brackets(record.editing_prompt),
            f"{number} {TYPES[int(number)]}",
            mask=mask(record.mask, f"the mask of {key}"),
        )


def without_brackets(prompt: str) -> str:
    """A prompt without the brackets that mark its changed words.

    >>> without_brackets("a [red] ball")
    'a red ball'
    """
    return prompt.replace("[", "").replace("]", "")


def mask(runs: Sequence[int], name: str = "the mask") -> Tensor:
    """Runs [start, length, start, length, …] over rows to (1, 1, 512, 512) of bool, true where a picture may change.

    Runs are cut at the end; the outermost rows and columns may always change. Raises ``RnriError`` for half a run and
    for negative numbers.

    >>> mask([513, 2])[0, 0, :3, :4].int().tolist()
    [[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]]
    """
    if len(runs) % 2 or any(not isinstance(each, int) or each < 0 for each in runs):
        raise RnriError(f"{name} is damaged", hint="it should be a list of starts and lengths, one after the other")
    flat = np.zeros(SIDE * SIDE, dtype=bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        flat[start : start + length] = True
    square = flat.reshape(SIDE, SIDE)
    square[[0, -1], :] = True
    square[:, [0, -1]] = True
    return torch.from_numpy(square)[None, None]


def _records(text: bytes, path: Path) -> Mapping[str, PieRecord]:
    try:
        found = {str(key): dict(record) for key, record in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RnriError(
            f"{path} is damaged", hint="it should be a JSON object of records by their 12 digits"
        ) from error
    if not found:
        raise RnriError(f"{path} has no records", hint="get a whole copy of the file")
    records = {}
    for key, record in found.items():
        try:
            records[key] = PieRecord(**{each.name: record[each.name] for each in fields(PieRecord)})
        except KeyError as error:
            raise RnriError(
                f"{path}: record {key} has no {error.args[0]}", hint="get a whole copy of the file"
            ) from None
        if records[key].editing_type_id not in map(str, range(len(TYPES))):
            kind = records[key].editing_type_id
            raise RnriError(f"{path}: record {key} is of type {kind!r}", hint="it should be 0 to 9")
    return records
