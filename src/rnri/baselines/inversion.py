"""Invert, then sample with other words: what this package is for."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rnri_core import publications
from rnri_core.errors import RnriError
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.implicit import Init
from rnri_core.registry import option

from rnri.baselines.base import Edited, EditMethod
from rnri.controls import controls as find_controls
from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.editing.fidelity import residual
from rnri.images import ImageLike


@dataclass(frozen=True)
class InversionBaseline(EditMethod):
    """Solve every step of the sampler for the latent it came from, and sample again from the noise so found.

    ``inverter`` is a preset, or the spec of a solver or inverter, in quotes if it holds a comma:
    ``inversion:inverter='anderson:memory=2,mixing=0.5'``. A preset has its own iterations, initial guess and noise
    maps; what is set here wins: ``inversion:noise_maps=false``.
    """

    source = publications.GNRI
    passage = "Algorithm 1"

    inverter: str = option("auto", "a preset, a solver or an inverter: see 'rnri solvers'")
    iterations: str = option(
        "", "iterations per step, or a plan from the image outwards: '5,1'; the solver's or the preset's own"
    )
    steps: int = option(0, "steps between noise and picture, 0 for the model's own number", low=0)
    strength: float = option(1.0, "the part of the steps that is inverted", low=0.01, high=1.0)
    guidance: float | None = option(
        None, "how hard the edit follows its prompt; the model's own if not given", low=0.0, high=100.0
    )
    init: Init | None = option(None, "initial guess of each step; the preset's own, or clean")
    noise_maps: bool | None = option(
        None, "store what each step misses, and add it when sampling; the preset's own, or false"
    )
    controls: str = option(
        "auto", "auto, none, or controls apart by semicolons: 'start-step:strength=0.8; automatic-mask'"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        find_controls(self.controls)
        self.config(0)

    def config(self, seed: int) -> InversionConfig:
        """The settings of the inversion."""
        parts = self.iterations.split(",") if self.iterations else []
        if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            raise RnriError(
                f"iterations={self.iterations!r} is no plan",
                hint="give iterations per step, like 2 or '5,1'",
                field="iterations",
            )
        return InversionConfig(
            inverter=self.inverter,
            steps=self.steps or None,
            strength=self.strength,
            iterations=[int(part) for part in parts] or None,
            init=self.init,
            noise_maps=self.noise_maps,
            seed=seed,
        )

    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> Edited:
        begin = time.perf_counter()
        found = editor.invert(image, source, self.config(seed))
        result = editor.edit(found, targets, EditConfig(guidance=self.guidance, controls=find_controls(self.controls)))
        return Edited(
            list(result.pictures),
            nfe=found.nfe + result.nfe,
            njvp=found.njvp,
            nvjp=found.nvjp,
            seconds=time.perf_counter() - begin,
            residual=residual(found),
            status=found.status.name,
        )
