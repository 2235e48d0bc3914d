"""CLIP similarity of a picture and a text (Radford et al. 2021; as CLIPScore, Hessel et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rnri_core.errors import RnriError
from rnri_core.threads import TOKENIZERS
from torch import Tensor

from rnri.metrics.metric import Judged, Metric
from rnri.metrics.networks import Networks
from rnri.metrics.weights import CLIP, pretrained

MARGIN = 0.1
"""How much of its sides is added round an edited part before it is cut out."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A CLIP model with its tokenizer and image processor, all of transformers."""

    model: Any
    tokenizer: Any
    processor: Any

    @classmethod
    def load(cls, source: str = CLIP, *, device: torch.device | str = "cpu") -> Clip:
        """From a folder, or from what ``rnri bench fetch clip`` fetched; ``ValueError`` with that command if not."""
        import transformers

        loaders = (transformers.CLIPModel.from_pretrained, transformers.CLIPTokenizer.from_pretrained)
        model, tokenizer = pretrained("clip", source, *loaders)
        # The processor on Pillow: transformers 5 gives this name to it, and the plain one to that on torchvision.
        kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
        side = model.config.vision_config.image_size
        processor = kind(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        return cls(model.eval().requires_grad_(False).to(device), tokenizer, processor)

    def pixels(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] as the network takes them, (B, 3, side, side), by CLIP's own preprocessing.

        That is: 8 bits, the shorter side scaled to ``side`` (bicubic), the middle square, normalised by the mean and
        deviation of CLIP's training data.
        """
        levels = ((images.cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        pixels: Tensor = self.processor(list(levels), return_tensors="pt").pixel_values
        return pixels.to(self.model.device)

    def tokens(self, prompts: Sequence[str]) -> Any:
        """Texts as the network wants them, cut at the length it takes."""
        longest = self.model.config.text_config.max_position_embeddings
        with TOKENIZERS:
            tokens = self.tokenizer(
                list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
            )
        return tokens.to(self.model.device)


@torch.no_grad()
def clip_similarity(images: Tensor, prompts: Sequence[str], clip: Clip) -> Tensor:
    """100·cos of the embeddings of each picture and its text, one number per image: higher is more alike.

    ``images`` is (B, 3, H, W) in [-1, 1]; there is one prompt for each, or one for all. Shape (B,).
    """
    if len(prompts) not in (1, len(images)):
        raise RnriError(
            f"{len(prompts)} prompts do not fit {len(images)} pictures", hint="give one for each, or one for all"
        )
    output = clip.model(pixel_values=clip.pixels(images), **clip.tokens(prompts))
    cosine = torch.nn.functional.cosine_similarity(output.image_embeds.double(), output.text_embeds.double())
    return 100 * cosine


def edited_part(image: Tensor, mask: Tensor) -> Tensor | None:
    """The smallest square of (1, 3, H, W) that holds all of ``mask``, and a tenth more; ``None`` for an empty mask.

    >>> mask = torch.zeros(1, 1, 20, 30, dtype=torch.bool)
    >>> mask[..., 4:9, 10:20] = True
    >>> edited_part(torch.zeros(1, 3, 20, 30), mask).shape
    torch.Size([1, 3, 12, 12])
    """
    rows, columns = mask[0, 0].any(1).nonzero().flatten(), mask[0, 0].any(0).nonzero().flatten()
    if not len(rows):
        return None
    edges = [(int(each[0]), int(each[-1]) + 1) for each in (rows, columns)]
    side = max(high - low for low, high in edges)
    side = min(side + 2 * round(side * MARGIN), *image.shape[2:])
    starts = [
        min(max((low + high - side) // 2, 0), whole - side)
        for (low, high), whole in zip(edges, image.shape[2:], strict=True)
    ]
    return image[..., starts[0] : starts[0] + side, starts[1] : starts[1] + side]


def _whole(judged: Judged, networks: Networks) -> Tensor | None:
    return clip_similarity(judged.image, [judged.target_prompt], networks.clip) if judged.target_prompt else None


def _source(judged: Judged, networks: Networks) -> Tensor | None:
    return clip_similarity(judged.source, [judged.source_prompt], networks.clip) if judged.source_prompt else None


def _part(judged: Judged, networks: Networks) -> Tensor | None:
    part = None if judged.mask is None else edited_part(judged.image, judged.mask)
    if part is None or not judged.target_prompt:
        return None
    return clip_similarity(part, [judged.target_prompt], networks.clip)


def _part_on_black(judged: Judged, networks: Networks) -> Tensor | None:
    if judged.mask is None or not judged.target_prompt:
        return None
    return clip_similarity(torch.where(judged.mask, judged.image, -1.0), [judged.target_prompt], networks.clip)


CLIP_WHOLE = Metric("CLIP similarity to the target's prompt", "higher", _whole, needs="clip")
CLIP_EDITED = Metric("CLIP similarity of a square cut out round the edited part", "higher", _part, needs="clip")
CLIP_SOURCE_IMAGE = Metric(
    "PIE-Bench: CLIP similarity of the source and its own prompt", "higher", _source, needs="clip"
)
CLIP_TARGET_IMAGE = Metric("PIE-Bench: CLIP similarity to the target's prompt", "higher", _whole, needs="clip")
CLIP_EDIT_PART = Metric(
    "PIE-Bench: CLIP similarity to the whole target's prompt with all but the mask black",
    "higher",
    _part_on_black,
    needs="clip",
)
