"""Invert, then sample with other words: what this package is for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from rnri_core import publications
from rnri_core.errors import RnriError
from rnri_core.inversion.presets import check
from rnri_core.registry import option

from rnri.baselines.base import Edited, EditMethod
from rnri.controls import controls as find_controls
from rnri.editing.editor import Editor
from rnri.editing.fidelity import residual, status
from rnri.images import ImageLike


@dataclass(frozen=True)
class Inversion(EditMethod):
    """Solve every step of the sampler for the latent it came from, and sample again from the noise so found.

    ``solver`` is a preset, or a solver's spec, in quotes if it holds a comma:
    ``inversion:solver='anderson:memory=2,mixing=0.5'``. A preset has its own budget, start, predictor and
    corrections; what is set here wins: ``inversion:correct=false``.
    """

    source = publications.GNRI
    passage = "Algorithm 1"

    solver: str = option("auto", "a preset or a solver: see 'rnri solvers'")
    budget: str = option(
        "", "iterations per step, or a plan from the image outwards: '5,1'; the solver's or the preset's own"
    )
    steps: int = option(0, "steps between noise and picture, 0 for the model's own number", low=0)
    strength: float = option(1.0, "the part of the steps that is inverted", low=0.0, high=1.0)
    guidance: float | None = option(
        None, "how hard the edit follows its prompt; the model's own if not given", low=0.0, high=100.0
    )
    start: Literal["clean", "noised"] | None = option(
        None, "first guess next to the image: the latents, or a draw; the preset's own, or clean"
    )
    predictor: bool | None = option(
        None, "start each step from the output that the answer of the one before implies; the preset's own, or false"
    )
    correct: bool | None = option(
        None, "keep what each step misses, and add it when sampling; the preset's own, or false"
    )
    controls: str = option("", "controls instead of the usual ones, apart by semicolons: 'depth:strength=0.8; hold'")

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.solver)
        find_controls(self.controls)
        parts = self.budget.split(",")
        if self.budget and not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            raise RnriError(
                f"budget={self.budget!r} is no plan", hint="give iterations per step, like 2 or '5,1'", field="budget"
            )

    def edit(self, editor: Editor, image: ImageLike, source: str, targets: list[str], *, seed: int = 0) -> Edited:
        begin = time.perf_counter()
        found = editor.invert(
            image,
            source,
            solver=self.solver,
            steps=self.steps or None,
            strength=self.strength,
            budget=[int(part) for part in self.budget.split(",")] if self.budget else None,
            start=self.start,
            predictor=self.predictor,
            correct=self.correct,
            seed=seed,
        )
        drawn = editor.draw(found, targets, guidance=self.guidance, controls=find_controls(self.controls) or None)
        return Edited(
            editor.finish(found, drawn),
            nfe=found.nfe + drawn.nfe,
            njvp=found.njvp,
            nvjp=found.nvjp,
            seconds=time.perf_counter() - begin,
            residual=residual(found),
            status=status(found).name,
        )
