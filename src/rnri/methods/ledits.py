"""Edit-friendly noise maps, and guidance only where the edit belongs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rnri.controls import Job, sources
from rnri.controls.keep_words import KeepWords
from rnri.edit_friendly import edit_friendly
from rnri.inversion import sample
from rnri.methods.canvas import Canvas, Rival
from rnri.models.attention import attending
from rnri.registry import option


@dataclass(frozen=True)
class Ledits(Rival):
    """LEDITS++: from the source's prediction, scale times the way to the target's, under two masks.

    m = m_source + scale·M₁·M₂·(m_target − m_source). M₁ is where the words that differ are looked at, M₂ where the two
    predictions differ most. The source prompt gives the picture back to rounding error. The published form inverts with
    DPM-Solver++ and guides from no prompt; here source and target prompt are given, and the steps are the model's own.
    """

    source = sources.LEDITS
    passage = "Section 4, textual editing and semantic grounding"

    strength: float = option(0.75, "the part of the steps that is taken", low=0.01, high=1.0)
    scale: float = option(1.5, "how far past the target's prediction it goes", low=0.0, high=100.0)
    quantile: float = option(0.75, "λ, the share of latents that are left out of M₂", low=0.0, high=1.0)
    attention: float = option(0.3, "share of the most attention that counts in M₁, 0 for no M₁", low=0.0, high=1.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        count = max(1, math.floor(len(canvas.schedule) * self.strength + 1e-9))
        seed = canvas.generator.initial_seed()
        network = canvas.network([canvas.source])
        found = edit_friendly(network, canvas.schedule[-count:], canvas.clean, seed=seed)
        found = replace(found, prompt=canvas.source)
        drawn = []
        for target in canvas.targets:
            both = canvas.network([canvas.source, target])
            length = canvas.editor.model.embed([target]).tokens.shape[1]
            job = Job(canvas.editor.model, found, (target,), beside=True, targets=slice(1, 2), length=length)
            watching = KeepWords(threshold=self.attention).bind(job) if self.attention else None

            def m(z: Tensor, t: float) -> Tensor:
                theirs, ours = both(torch.cat([z, z]), t).chunk(2)  # noqa: B023
                change = ours - theirs
                strong = change.abs().mean(1, keepdim=True)
                mask = (strong >= strong.flatten().quantile(self.quantile)).to(z)
                looked = watching.mask() if watching else None  # noqa: B023
                return theirs + self.scale * (mask if looked is None else mask * looked.to(z)) * change

            with attending(canvas.editor.model, [watching] if watching else []):
                drawn.append(sample(m, found.schedule, found.noise, corrections=found.corrections))
        return torch.cat(drawn)
