"""What a photo shows, in words: BLIP (Li et al., ICML 2022)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from rnri_core import threads
from rnri_core.errors import RnriError
from torch import Tensor
from transformers import AutoTokenizer, BlipForConditionalGeneration

from rnri.models.components import first_line, quiet

MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of each colour of pictures in [0, 1], where the model's files say nothing else."""


class Captioner:
    """Describes pictures with a BLIP captioning model; deterministic."""

    def __init__(self, network: Any, tokenizer: Any, *, mean: Any = MEAN, spread: Any = SPREAD) -> None:
        self.network, self.tokenizer = network.eval().requires_grad_(False), tokenizer
        self.mean, self.spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, spread))

    @classmethod
    def load(cls, name: str, *, device: str | torch.device = "cpu", local_files_only: bool = False) -> Captioner:
        """From a folder or the Hub; downloads what is not here, unless it is to use local files only.

        Raises ValueError, in one line, where there is none.
        """
        found: dict[str, Any] = {"local_files_only": local_files_only}
        try:
            with threads.loading(), torch.random.fork_rng(devices=[]), quiet(bars=True):
                network = BlipForConditionalGeneration.from_pretrained(name, use_safetensors=True, **found)
                tokenizer = AutoTokenizer.from_pretrained(name, **found)
        except Exception as error:  # of the files, or on the way to them
            raise RnriError(
                f"no captioner {name!r}",
                hint=f"{first_line(error)}; fetch one with 'hf download Salesforce/blip-image-captioning-base', "
                "or say what the picture shows",
            ) from error
        said = Path(name) / "preprocessor_config.json"
        config = json.loads(said.read_text()) if said.is_file() else {}
        mean, spread = config.get("image_mean", MEAN), config.get("image_std", SPREAD)
        return cls(network.to(device), tokenizer, mean=mean, spread=spread)

    @torch.no_grad()
    def describe(self, image: Tensor) -> str:
        """One sentence about one picture (1, 3, H, W) in [-1, 1]."""
        side = self.network.config.vision_config.image_size
        scaled = torch.nn.functional.interpolate(image.float(), (side, side), mode="bicubic", antialias=True)
        pixels = (scaled.clamp(-1, 1).cpu() / 2 + 0.5 - self.mean) / self.spread
        ids = self.network.generate(pixel_values=pixels.to(self.network.device), max_new_tokens=40, do_sample=False)
        return str(self.tokenizer.decode(ids[0], skip_special_tokens=True).strip())
