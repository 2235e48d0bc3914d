"""Sets of edits that methods are measured on, one file each; to add one: a file and a line."""

from __future__ import annotations

from rnri.evaluation.datasets.coco import Coco
from rnri.evaluation.datasets.dataset import Dataset, Task, in_turn
from rnri.evaluation.datasets.folder import Folder
from rnri.evaluation.datasets.pie import Pie
from rnri.evaluation.datasets.scenes import Scenes

DATASETS: dict[str, type[Dataset]] = {
    "scenes": Scenes,
    "pie": Pie,
    "coco": Coco,
    "folder": Folder,
}
"""Kinds of sets by name."""

__all__ = ["DATASETS", "Dataset", "Task", "in_turn"]
