"""Stage 2: the text encoder learns to read before it learns to draw.

A small CLIP text model is trained to say, from a caption alone, what stands where. Its tokens are summed up in the
one vector that the UNet will add to the timestep (diffusers' ``addition_embed_type="text"``), and from that vector a
linear head for each attribute of :data:`rnri.scenes.attributes.ATTRIBUTES` names the value. The heads are thrown away;
encoder and summary spare the denoiser, by far the dearer network, the learning of language.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers.models.embeddings import TextTimeEmbedding
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from rnri.scenes.attributes import ATTRIBUTES, attributes
from rnri.scenes.captions import caption
from rnri.scenes.scene import Scene, random_scene
from rnri.scenes.splits import split_of
from training import tokenizer
from training.loop import fit

WIDTH = 192
HEADS = 6
SUMMARY = 256
"""Width of the UNet's timestep embedding: four times that of its first level."""


def new(words: CLIPTokenizer) -> CLIPTextModel:
    """An untrained encoder: three layers of width 192."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=HEADS,
            max_position_embeddings=tokenizer.MAX_LENGTH,
            hidden_act="gelu",
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )


class Comprehension(nn.Module):
    """The encoder, the summary of its tokens that the UNet adds to the timestep, and one reading head per attribute."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.summary = TextTimeEmbedding(WIDTH, SUMMARY, num_heads=HEADS)
        self.heads = nn.ModuleList([nn.Linear(SUMMARY, len(values)) for values in ATTRIBUTES.values()])

    def forward(self, ids: Tensor) -> list[Tensor]:
        read = self.summary(self.encoder(ids).last_hidden_state)
        return [head(read) for head in self.heads]


def labels(scenes: list[Scene]) -> Tensor:
    """Class indices ``(B, attributes)`` in the order of ``ATTRIBUTES``."""
    index = {name: {value: k for k, value in enumerate(values)} for name, values in ATTRIBUTES.items()}
    return torch.tensor([[index[name][value] for name, value in attributes(scene)] for scene in scenes])


def ids(words: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids ``(B, 48)``, padded as the pipelines pad."""
    output: Tensor = words(
        texts, padding="max_length", max_length=tokenizer.MAX_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return output


def train(words: CLIPTokenizer, folder: Path, *, steps: int, batch: int = 48, rate: float = 1e-3) -> Comprehension:
    """Train on fresh captions of the training split, every one a new paraphrase of a new scene."""

    def loss(model: Comprehension, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        scenes = [scene for scene in (random_scene(rng) for _ in range(batch)) if split_of(scene) == "train"]
        target = labels(scenes)
        guesses = model(ids(words, [caption(scene, rng) for scene in scenes]).to(next(model.parameters()).device))
        target = target.to(guesses[0].device)
        value = torch.stack(
            [nn.functional.cross_entropy(g.float(), target[:, k]) for k, g in enumerate(guesses)]
        ).mean()
        right = torch.stack([g.argmax(1) == target[:, k] for k, g in enumerate(guesses)]).float().mean()
        return value, {"right": right.item()}

    torch.manual_seed(2)
    return fit("text", Comprehension(new(words)), loss, folder, steps=steps, rate=rate, seed=2)
