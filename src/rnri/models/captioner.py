"""Captions of photos by BLIP (Li et al., ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from rnri_core.errors import RnriError
from torch import Tensor
from transformers import AutoTokenizer, BlipForConditionalGeneration

from rnri import images
from rnri.models.components import load_network
from rnri.models.quiet import first_line, quiet


@dataclass(frozen=True, eq=False)
class Captioner:
    """A BLIP captioning model with its tokenizer and image processor, all of transformers; deterministic."""

    network: Any
    tokenizer: Any
    processor: Any

    @classmethod
    def load(cls, name: str, *, device: str | torch.device = "cpu", local_files_only: bool = False) -> Captioner:
        """Load a captioner.

        Args:
            name: a folder, or a Hub id, from which files that are not in the cache are downloaded.
            device: where the network runs.
            local_files_only: whether to use the cache alone, and no network.

        Raises:
            RnriError: in one line, where there is no such captioner.
        """
        # The processor on Pillow: transformers 5 gives this name to it, and the plain one to that on torchvision.
        kind = getattr(transformers, "BlipImageProcessorPil", None) or transformers.BlipImageProcessor
        where = {"local_files_only": local_files_only}
        try:
            network, _ = load_network(BlipForConditionalGeneration, name, bars=True, use_safetensors=True, **where)
            with quiet(bars=True):
                tokenizer = AutoTokenizer.from_pretrained(name, **where)
                try:
                    processor = kind.from_pretrained(name, **where)
                except OSError:  # a copy without the processor's settings: BLIP's own are its defaults
                    processor = kind()
        except Exception as error:  # of the files, or on the way to them
            raise RnriError(
                f"no captioner {name!r}",
                hint=f"{first_line(error)}; fetch one with 'hf download Salesforce/blip-image-captioning-base', "
                "or say what the picture shows",
            ) from error
        return cls(network.to(device), tokenizer, processor)

    @torch.no_grad()
    def describe(self, image: Tensor) -> str:
        """One sentence about one image (1, 3, H, W) in [-1, 1]."""
        side = self.network.config.vision_config.image_size
        size = {"height": side, "width": side}
        pixels = self.processor(images.to_pil(image), size=size, return_tensors="pt").pixel_values
        ids = self.network.generate(pixel_values=pixels.to(self.network.device), max_new_tokens=40, do_sample=False)
        return str(self.tokenizer.decode(ids[0], skip_special_tokens=True).strip())
