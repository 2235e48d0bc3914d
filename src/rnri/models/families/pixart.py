"""PixArt-α and PixArt-Σ: a diffusion transformer that reads T5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rnri_core import publications
from torch import Tensor

from rnri.models.adapter import NOISE_SAMPLERS, ModelAdapter
from rnri.models.components import KL, T5

ONE_STEP = {"set_alpha_to_one": True, "final_sigmas_type": "zero"}
"""Settings of schedulers with which the last step ends at the image."""


class PixArt(ModelAdapter):
    """Predicts noise (Chen et al. 2023, 2024); the variance it predicts as well is left aside.

    Checkpoints come with a multistep sampler: ask for another.
    """

    title = "PixArt-α"
    source = publications.PIXART_ALPHA
    gigabytes = 10.9
    recommended = "3 to 4.5"
    examples = ("PixArt-alpha/PixArt-XL-2-1024-MS",)
    components: ClassVar = {"vae": KL, "transformer": ("PixArtTransformer2DModel", "Transformer2DModel"), **T5}
    samplers = NOISE_SAMPLERS
    jumps: ClassVar[bool] = True
    """Whether one step goes to the predicted image, for checkpoints distilled to one (PixArt-α-DMD)."""
    max_tokens = 120
    steps = 20

    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        return self.read_masked(prompts)

    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = self.network(
            z,
            encoder_hidden_states=read["tokens"],
            encoder_attention_mask=read["mask"],
            timestep=t,
            added_cond_kwargs=self.added(z),
            return_dict=False,
        )[0]
        return output[:, : z.shape[1]]

    def scheduler_for(self, num_steps: int) -> Any:
        """One step ends at the image, wherever the scheduler ends: the pipeline takes the predicted image then."""
        if num_steps != 1 or not self.jumps:
            return self.scheduler
        config = self.scheduler.config
        ends = {name: end for name, end in ONE_STEP.items() if name in config}
        return type(self.scheduler).from_config(config, **ends)

    def added(self, z: Tensor) -> dict[str, Tensor | None]:
        """The image's size and shape, which the largest networks of PixArt-α read."""
        if not self.network.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        size = z.new_zeros(len(z), 2)
        size[:, 0], size[:, 1] = (side * self.factor for side in z.shape[-2:])
        return {"resolution": size, "aspect_ratio": size[:, :1] / size[:, 1:]}


class PixArtSigma(PixArt):
    """Reads longer prompts, and no sizes."""

    title = "PixArt-Σ"
    source = publications.PIXART_SIGMA
    examples = ("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",)
    jumps = False
    max_tokens = 300
