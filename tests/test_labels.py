"""Edits labelled by eye: what was labelled can be made again, and two labellers agree."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rnri.scenes.splits import split_edits

HERE = Path(__file__).parent / "labels"
LABELS = ("clean", "borderline", "rejected")
COLUMNS, SIDE = 12, 128
"""Edit n stands in column n mod 12 and row n // 12 of ``edits.png``."""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / "edits.json").read_text(encoding="utf-8"))
    return found


def kappa(pairs: Counter[tuple[object, object]]) -> float:
    """Cohen's κ = (p_o − p_e)/(1 − p_e): agreement beyond that of chance."""
    count = pairs.total()
    agreed = sum(number for (one, other), number in pairs.items() if one == other) / count
    first, second = Counter[object](), Counter[object]()
    for (one, other), number in pairs.items():
        first[one] += number
        second[other] += number
    chance = sum(first[label] * second[label] for label in first) / count**2
    return (agreed - chance) / (1 - chance)


def test_every_edit_has_two_labels_and_a_picture(rows: list[dict[str, Any]]) -> None:
    assert [row["item"] for row in rows] == list(range(120))
    for row in rows:
        assert set(row["labels"]) <= set(LABELS)
        assert all(bool(fault) == (label != "clean") for fault, label in zip(row["faults"], row["labels"], strict=True))
    with Image.open(HERE / "edits.png") as sheet:
        assert sheet.size == (COLUMNS * SIDE, len(rows) // COLUMNS * SIDE)


def test_the_edits_are_those_of_the_split(rows: list[dict[str, Any]]) -> None:
    for row in rows[::7]:
        where = row["edit"]
        edits = split_edits(where["split"], where["index"] + 1, style=where["style"], seed=where["seed"])
        assert edits[-1].kind == row["kind"]


def test_labellers_agree(rows: list[dict[str, Any]]) -> None:
    pairs = Counter[tuple[object, object]]((row["labels"][0], row["labels"][1]) for row in rows)
    assert kappa(pairs) == pytest.approx(0.840, abs=5e-4)
    usable = Counter[tuple[object, object]]()
    for (one, other), number in pairs.items():
        usable[one != "rejected", other != "rejected"] += number
    assert kappa(usable) == pytest.approx(0.839, abs=5e-4)
