"""Inversion, then sampling with another prompt: the method of this package."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rnri_core import publications
from rnri_core.errors import RnriError
from rnri_core.inversion.config import InversionConfig
from rnri_core.inversion.implicit import Init
from rnri_core.registry import option

from rnri.baselines.base import EditMethod, MethodResult
from rnri.controls import controls as find_controls
from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.editing.fidelity import residual
from rnri.images import ImageLike


@dataclass(frozen=True)
class InversionBaseline(EditMethod):
    """Solve every step of the sampler for its noisy end, and sample again from that noise with the target prompt.

    ``inverter`` is a preset, or the spec of a solver or inverter, in quotes if it holds a comma:
    ``inversion:inverter='anderson:memory=2,mixing=0.5'``. A preset has its own iterations, initial guess and noise
    maps; options that are set win: ``inversion:noise_maps=false``.
    """

    source = publications.GNRI
    passage = "Algorithm 1"

    inverter: str = option("auto", "a preset, a solver or an inverter: see 'rnri solvers'")
    iterations: str = option(
        "", "iterations per step, or a plan from the image outwards: '5,1'; the solver's or the preset's own"
    )
    strength: float = option(1.0, "the part of the steps that is inverted", low=0.01, high=1.0)
    init: Init | None = option(None, "initial guess of each step; the preset's own, or clean")
    noise_maps: bool | None = option(
        None, "store each step's error as a noise map, added when sampling; the preset's own, or false"
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

    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> MethodResult:
        begin = time.perf_counter()
        inversion = editor.invert(image, source, self.config(seed))
        config = EditConfig(guidance=self.guidance, controls=find_controls(self.controls))
        result = editor.edit(inversion, targets, config)
        return MethodResult(
            pictures=list(result.pictures),
            nfe=inversion.nfe + result.nfe,
            njvp=inversion.njvp,
            nvjp=inversion.nvjp,
            seconds=time.perf_counter() - begin,
            residual=residual(inversion),
            status=inversion.status.name,
        )
