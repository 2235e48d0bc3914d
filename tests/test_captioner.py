"""Captions by BLIP: images reach the network as its authors' processor prepares them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BlipImageProcessorPil

from rnri import images
from rnri.models.captioner import Captioner
from tests.test_cli_controls import blip

__all__ = ["blip"]

IMAGE = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0)) * 2 - 1
SIZE = {"height": 32, "width": 32}


def pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """What the network is given of the image."""
    captioner = Captioner.load(str(folder))
    generate, seen = captioner.network.generate, list[torch.Tensor]()

    def recorded(**options: Any) -> Any:
        seen.append(options["pixel_values"])
        return generate(**options)

    monkeypatch.setattr(captioner.network, "generate", recorded)
    captioner.describe(IMAGE)
    return seen[0]


def test_pixels_are_those_of_blips_own_processor(blip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = BlipImageProcessorPil(size=SIZE)(images.to_pil(IMAGE), return_tensors="pt").pixel_values
    assert torch.equal(pixels(blip, monkeypatch), expected)
    assert "torchvision" not in sys.modules


def test_a_checkpoints_own_processor_is_used(blip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(blip, tmp_path / "copy"))
    own = BlipImageProcessorPil(size=SIZE, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    own.save_pretrained(folder)
    expected = own(images.to_pil(IMAGE), return_tensors="pt").pixel_values
    assert torch.equal(pixels(folder, monkeypatch), expected)
    assert not torch.equal(pixels(blip, monkeypatch), expected)
