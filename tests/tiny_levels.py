"""Pipelines at tiny width with the levels of the published networks: where they halve, and where they attend."""

from __future__ import annotations

from typing import Any

import torch
from rnri_core.inversion.inversion import Inversion

from rnri.editing.editor import Editor, Encoded
from tests import tiny, tiny_families
from tests.test_editor import SOURCE

LEVELS: dict[str, dict[str, Any]] = {
    "sd": {
        "block_out_channels": (8, 8, 8, 8),
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    },
    "sdxl": {
        "block_out_channels": (8, 8, 8),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 3),
    },
}
"""Stable Diffusion 1 and 2: four levels, attention at the first three. SDXL: three, attention at the last two."""


def pipeline(kind: str, **changes: Any) -> Any:
    """A pipeline of this structure, whose words are looked at in some places more than in others."""
    options = {**LEVELS[kind], "layers_per_block": 1, "attention_head_dim": 2, "norm_num_groups": 4, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "sdxl":
            pipe = tiny_families.sdxl(**options)
        else:
            pipe = tiny.pipeline()
            pipe.register_modules(unet=tiny.unet(**options))
    for name, weight in pipe.unet.named_parameters():
        if "attn2.to_q" in name:
            weight.data.mul_(30.0)
    pipe.unet.eval()
    return pipe


def inverted(editor: Editor, height: int, width: int, *, steps: int = 2) -> Inversion:
    """Latents of this size inverted explicitly."""
    latents = torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(0))
    encoded = Encoded(latents, (width * 8, height * 8))
    return editor.invert(encoded, SOURCE, inverter="explicit", iterations=1, steps=steps, noise_maps=True)
