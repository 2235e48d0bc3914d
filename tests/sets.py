"""Sets of edits in the published layouts, made of rendered scenes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rnri.scenes.edits import PIE_BENCH_TYPES, Edit
from rnri.scenes.splits import split_edits

FOLDERS = (
    "0_random_140",
    "1_change_object_80",
    "2_add_object_80",
    "3_delete_object_80",
    "4_change_attribute_content_40",
    "5_change_attribute_pose_40",
    "6_change_attribute_color_40",
    "7_change_attribute_material_40",
    "8_change_background_80",
    "9_change_style_80",
)


def runs(mask: np.ndarray) -> list[int]:
    """A mask as [start, length, start, length, …] over its rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel().astype(int), [0]])))
    return [int(n) for start, end in edges.reshape(-1, 2) for n in (start, end - start)]


def edits(count: int) -> tuple[Edit, ...]:
    """Edits of several kinds, the last of which may change every pixel."""
    return split_edits("tuning", count, kinds=("colour", "add", "style"))


def pie(root: Path, count: int = 3) -> Path:
    """A folder as PIE-Bench's: pictures of 512×512 that are scenes blown up."""
    mapping = {}
    for n, edit in enumerate(edits(count)):
        number = PIE_BENCH_TYPES[edit.kind]
        made, key = edit.images(32), f"{number}{n:011d}"
        path = Path(FOLDERS[number], f"{key}.jpg")
        (root / "annotation_images" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made.source).resize((512, 512)).save(root / "annotation_images" / path)
        mapping[key] = {
            "image_path": path.as_posix(),
            "original_prompt": f"[{edit.source_prompt}]",
            "editing_prompt": edit.target_prompt.replace(" on ", " [on] ", 1),
            "editing_instruction": "change it",
            "editing_type_id": str(number),
            "blended_word": "",
            "mask": [0, 512 * 512] if made.mask.all() else runs(made.mask.repeat(16, 0).repeat(16, 1)),
        }
    (root / "mapping_file.json").write_text(json.dumps(mapping))
    return root


def coco(root: Path, count: int = 3) -> tuple[Path, Path]:
    """A folder of pictures and a file of captions as COCO's; pictures are not square, and one has no caption."""
    (root / "val2017").mkdir(parents=True)
    pictures, captions = [], []
    for n, edit in enumerate(edits(count + 1)):
        name = f"{n + 100:012d}.jpg"
        Image.fromarray(edit.images(32).source).crop((0, 0, 32, 24)).save(root / "val2017" / name)
        pictures.append({"id": n + 100, "file_name": name, "height": 24, "width": 32})
        if n < count:
            captions.append({"id": 50 - n, "image_id": n + 100, "caption": f"{edit.source_prompt}\n"})
            captions.append({"id": 60 + n, "image_id": n + 100, "caption": "a red ball"})
    path = root / "captions_val2017.json"
    path.write_text(json.dumps({"info": {}, "licenses": [], "images": pictures, "annotations": captions}))
    return root / "val2017", path


def folder(root: Path, count: int = 3) -> Path:
    """A CSV of a user's own pictures, the first of which has a mask."""
    lines = ["image, source, target, mask, note"]
    for n, edit in enumerate(edits(count)):
        made = edit.images(32)
        Image.fromarray(made.source).save(root / f"{n}.png")
        masked = f"mask-{n}.png" if n == 0 else ""
        if masked:
            Image.fromarray(made.mask).save(root / masked)
        lines.append(f'{n}.png, "{edit.source_prompt}", "{edit.target_prompt}", {masked}, mine')
    return listed(root / "edits.csv", lines)


def listed(path: Path, lines: Sequence[str]) -> Path:
    """A file of these lines."""
    path.write_text("\n".join(lines) + "\n")
    return path
