"""Sets of edits: read as published, and refused in one line where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rnri.evaluation.datasets.coco import Coco
from rnri.evaluation.datasets.folder import Folder
from rnri.evaluation.datasets.pie import Pie, mask
from rnri.evaluation.datasets.scenes import Scenes
from rnri.scenes.edits import PIE_BENCH_TYPES
from rnri.scenes.splits import split_of
from tests import sets


def test_scenes_know_their_truth_and_all_ten_types() -> None:
    edits = Scenes("heldout", 22, 32)
    tasks = [edits.task(key) for key in edits.keys]
    assert {task.kind[0] for task in tasks} == {str(number) for number in PIE_BENCH_TYPES.values()}
    for task, edit in zip(tasks, edits.edits, strict=True):
        assert split_of(edit.source) == "heldout"
        assert task.truth is not None
        assert task.mask is not None
        away = ~task.mask.expand_as(task.truth)
        assert ((task.truth - task.source)[away].abs() <= 8 / 127.5 + 1e-6).all()
        assert task.before != task.after
    assert [edits.task(key).source_prompt for key in (0, 1)] == [
        Scenes("heldout", 2, 64).task(key).source_prompt for key in (0, 1)
    ]


def test_the_splits_that_are_tuned_on_and_reported_share_no_scene() -> None:
    heldout, tuning = ({edit.source for edit in Scenes(split, 55, 32).edits} for split in ("heldout", "tuning"))
    assert not heldout & tuning
    assert Scenes("heldout", 3, 32).about != Scenes("tuning", 3, 32).about


def test_pie_bench_is_read_as_published(tmp_path: Path) -> None:
    found = Pie(sets.pie(tmp_path, 4))
    assert [str(key)[0] for key in found.keys] == ["2", "6", "9", "6"]  # types in turn
    for n, (key, edit) in enumerate(zip(sorted(found.keys, key=lambda key: str(key)[1:]), sets.edits(4), strict=True)):
        task = found.task(key)
        assert (task.source_prompt, task.target_prompt) == (edit.source_prompt, edit.target_prompt)
        assert task.source.shape == (1, 3, 512, 512)
        assert task.mask is not None
        true = edit.images(32).mask.repeat(16, 0).repeat(16, 1)
        assert (task.mask[0, 0].numpy()[1:-1, 1:-1] == true[1:-1, 1:-1]).all(), n
        assert task.mask[0, 0, [0, -1]].all()
        assert task.mask[0, 0, :, [0, -1]].all()


def test_runs_of_a_mask_are_cut_at_its_end() -> None:
    found = mask([512 * 511 + 100, 10_000, 512 * 5 + 3, 2])[0, 0]
    assert found[511].all()
    assert found[5].nonzero().flatten().tolist() == [0, 3, 4, 511]
    for runs in ([1], [-1, 2], [0.5, 1]):
        with pytest.raises(ValueError, match="the mask is damaged"):
            mask(runs)  # type: ignore[arg-type]


def broken(root: Path, **changes: object) -> Path:
    path = sets.pie(root) / "mapping_file.json"
    records = json.loads(path.read_text())
    first = next(iter(records))
    for name, value in changes.items():
        if value is None:
            del records[first][name]
        else:
            records[first][name] = value
    path.write_text(json.dumps(records))
    return root


def test_what_is_no_pie_bench_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mapping_file.json cannot be read: give PIE-Bench's folder"):
        Pie(tmp_path)
    with pytest.raises(ValueError, match="has no mask: get a whole copy"):
        Pie(broken(tmp_path / "a", mask=None))
    with pytest.raises(ValueError, match="of type 'x': it should be 0 to 9"):
        Pie(broken(tmp_path / "b", editing_type_id="x"))
    for text in ("[]", "{", '{"1": 2}'):
        (tmp_path / "mapping_file.json").write_text(text)
        with pytest.raises(ValueError, match=r"mapping_file.json (is damaged|has no records)"):
            Pie(tmp_path)
    found = Pie(broken(tmp_path / "c", image_path="nowhere.jpg"))
    with pytest.raises(ValueError, match=r"nowhere.jpg does not exist"):
        [found.task(key) for key in found.keys]
    found = Pie(sets.pie(tmp_path / "d"))
    for path in (tmp_path / "d").rglob("*.jpg"):
        Image.new("RGB", (512, 256)).save(path)
    with pytest.raises(ValueError, match="is 512×256: PIE-Bench's pictures and masks are 512×512"):
        found.task(found.keys[0])


def test_coco_gives_each_picture_its_first_caption(tmp_path: Path) -> None:
    found = Coco(*sets.coco(tmp_path))
    assert list(found.keys) == [100, 101, 102]
    task = found.task(101)
    assert task.source_prompt == task.target_prompt == sets.edits(2)[1].source_prompt
    assert task.source.shape == (1, 3, 24, 32)
    assert task.truth is task.source


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"images": [], "annotations": [{}]}', '{"images": [], "annotations": []}']
)
def test_what_is_no_coco_is_refused(tmp_path: Path, text: str) -> None:
    path = sets.listed(tmp_path / "captions.json", [text])
    with pytest.raises(ValueError, match=r"captions.json (is not a file of captions|has no picture)"):
        Coco(tmp_path, path)
    with pytest.raises(ValueError, match="cannot be read: give COCO's JSON"):
        Coco(tmp_path, tmp_path / "nowhere.json")
    with pytest.raises(ValueError, match="is no directory"):
        Coco(path, path)


def test_a_list_is_read_as_csv_and_as_jsonl(tmp_path: Path) -> None:
    found = Folder(sets.folder(tmp_path))
    tasks = [found.task(key) for key in found.keys]
    assert [task.source_prompt for task in tasks] == [edit.source_prompt for edit in sets.edits(3)]
    assert tasks[0].mask is not None
    assert (tasks[0].mask[0, 0].numpy() == sets.edits(1)[0].images(32).mask).all()
    assert tasks[1].mask is None
    rows = [
        {"image": f"{n}.png", "source": task.source_prompt, "target": task.target_prompt}
        for n, task in enumerate(tasks)
    ]
    rows[0]["mask"] = "mask-0.png"
    lines = [json.dumps(row) for row in reversed(rows)]
    again = Folder(sets.listed(tmp_path / "edits.jsonl", lines))
    assert list(again.keys) == list(found.keys)[::-1]  # keys are of the contents, not of the place


def test_a_row_that_changes_is_another_task(tmp_path: Path) -> None:
    path = sets.folder(tmp_path)
    before = list(Folder(path).keys)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "1.png")
    path.write_text(path.read_text().replace("2.png,", "./2.png,"))
    after = list(Folder(path).keys)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("a.txt", ["x"], "is no list of edits: give a .csv or .jsonl"),
        ("a.csv", ["image,source"], "has no edits"),
        ("a.csv", ["image,source", "0.png,a ball"], "line 2 has no target"),
        ("a.csv", ["image,source,target", "0.png,a,b", "0.png,a,b"], "line 3 repeats a line above"),
        ("a.csv", ["image,source,target", "x.png,a,b"], "x.png cannot be read: No such file"),
        ("a.jsonl", ["[1"], "line 1 is no object"),
        ("a.jsonl", ['{"image": 3}'], "line 1 has no image"),
        ("nowhere.csv", None, "cannot be read"),
    ],
)
def test_what_is_no_list_of_edits_is_refused(tmp_path: Path, name: str, lines: list[str] | None, says: str) -> None:
    sets.folder(tmp_path)
    path = tmp_path / name
    if lines is not None:
        sets.listed(path, lines)
    with pytest.raises(ValueError, match=says):
        Folder(path)


def test_a_mask_is_of_its_pictures_size(tmp_path: Path) -> None:
    found = Folder(sets.folder(tmp_path))
    Image.new("L", (8, 4)).save(tmp_path / "mask-0.png")
    with pytest.raises(ValueError, match=r"mask-0.png is 8×4 and its picture 32×32"):
        found.task(found.keys[0])


def test_masks_are_of_bool() -> None:
    assert mask([0, 4]).dtype is torch.bool
