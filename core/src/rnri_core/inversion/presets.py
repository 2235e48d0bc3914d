"""Whole ways to invert, by name: a solver, where each step starts, how many calls it gets, what is kept of the rest.

Nothing in a preset is a number of some network. How calls are spread follows from the schedule, and how long the moves
of its solver are, from the second iteration of a step on, from what it measures on the picture at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.inversion.budget import allot, cost
from rnri_core.inversion.edit_friendly import edit_friendly
from rnri_core.inversion.inversion import Inversion, invert
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers import SOLVERS
from rnri_core.solvers import solver as find_solver
from rnri_core.solvers.solve import Solver

Start = Literal["clean", "noised"]

PATIENCE = 50
"""Iterations of a step that a tolerance stops, where no budget does."""


@dataclass(frozen=True)
class Preset:
    """``about`` says when to use it; the rest is what :func:`rnri.invert` is told where nothing else is asked for.

    ``extra`` is how many network calls an inversion makes beyond one per step, and one more per step for corrections.
    From ``drawn`` steps on it solves nothing unless told how: latents are :func:`edit_friendly`'s, at a call per step.
    """

    about: str
    solver: str
    extra: int
    start: Start
    predictor: bool
    correct: bool
    drawn: int | None = None


PRESETS: dict[str, Preset] = {
    "auto": Preset(
        "what does best in edits, for two calls a step, of 8 steps or more for one; gives the picture back exactly",
        "barzilai-borwein",
        extra=0,
        start="noised",
        predictor=True,
        correct=True,
        drawn=8,  # on the tuning split, edits of 8 steps or more are nearer to the truth drawn, of 4 solved
    ),
    "faithful": Preset(
        "noise that alone explains the picture, for more calls; edits change less",
        "barzilai-borwein",
        extra=16,
        start="clean",
        predictor=True,
        correct=False,
    ),
}


@dataclass(frozen=True)
class Plan:
    """How one schedule is inverted: what :func:`rnri.invert` takes, or that latents are ``drawn`` instead."""

    solver: Solver
    budget: int | Sequence[int]
    start: Start
    predictor: bool
    correct: bool
    drawn: bool = False

    def invert(
        self, m: Denoiser, schedule: Schedule, z_clean: Tensor, *, tol: float | None = None, seed: int = 0
    ) -> Inversion:
        """:func:`rnri.invert`, or :func:`edit_friendly`, as planned."""
        if self.drawn:
            return edit_friendly(m, schedule, z_clean, seed=seed)
        return invert(
            m,
            schedule,
            z_clean,
            self.solver,
            budget=self.budget,
            tol=tol,
            start=self.start,
            predictor=self.predictor,
            correct=self.correct,
            seed=seed,
        )


def check(how: str, *, plain: bool = False) -> None:
    """Raise ``ValueError`` unless ``how`` names a preset or is the spec of a solver, ``plain`` as in `rnri.solver`."""
    if how not in PRESETS:
        _solver(how, plain=plain)


def plan(
    how: str | Solver,
    schedule: Schedule,
    *,
    calls: int | None = None,
    budget: int | Sequence[int] | None = None,
    tol: float | None = None,
    start: Start | None = None,
    predictor: bool | None = None,
    correct: bool | None = None,
) -> Plan:
    """What a name stands for on this schedule: a preset's, a solver's spec, or a solver itself; what is given wins.

    Of a preset the budget is allotted by the schedule (:func:`rnri.allot`), from its own number of calls or from
    ``calls``, corrections included. A solver alone starts clean and takes the iterations of a step that its publication
    has (:meth:`Solver.iterations`), two unless it says otherwise. With a ``tol`` that is to stop them, either gets as
    many as it takes, up to :data:`PATIENCE` a step. A preset that would draw latents
    solves for them where it is told how, or not to correct. Raises ``ValueError`` for an unknown name, and where
    ``calls`` are too few.

    >>> from rnri_core.sampling import steps as schedule
    >>> import torch
    >>> steps = schedule.ddim(torch.linspace(0.9995, 0.99, 1000).cumprod(0), [999, 749, 499, 249])
    >>> made = plan("auto", steps)
    >>> made.budget, made.start, made.correct
    ([1, 1, 1, 1], 'noised', True)
    >>> plan("gnri", steps).budget, plan("auto", steps, calls=16).budget
    (2, [9, 1, 1, 1])
    >>> plan("renoise", steps).budget
    [6, 10, 10, 10]
    >>> many = schedule.ddim(torch.linspace(0.9995, 0.99, 1000).cumprod(0), range(999, 0, -50))
    >>> plan("auto", many).drawn, plan("auto", many, budget=1).drawn
    (True, False)
    """
    if tol is not None and budget is None and calls is None:
        budget = PATIENCE
    said = {"budget": budget, "start": start, "predictor": predictor, "correct": correct}
    given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    preset = PRESETS.get(how) if isinstance(how, str) else None
    if preset is None:
        if calls is not None:
            raise RnriError(
                f"calls={calls} are for {', '.join(PRESETS)}",
                hint=f"give {how!r} a budget of iterations",
                field="calls",
            )
        solver = _solver(how) if isinstance(how, str) else how
        usual = [solver.iterations(step.t) for step in reversed(schedule)]
        budget = usual[0] if len(set(usual)) == 1 else usual
        return replace(Plan(solver, budget, "clean", predictor=False, correct=False), **given)
    made = Plan(find_solver(preset.solver), 1, preset.start, preset.predictor, preset.correct)
    told_how = correct is False or bool(given.keys() - {"correct"})
    if preset.drawn is not None and len(schedule) >= preset.drawn and not told_how:
        if calls is not None and calls < len(schedule):
            raise RnriError(
                f"{calls} calls are not one for each of {len(schedule)} steps", hint="give more, or take fewer steps"
            )
        return replace(made, drawn=True)
    made = replace(made, **given)
    if budget is not None:
        return made
    spent = (
        len(schedule) * cost(made.solver, 1) + preset.extra if calls is None else calls - len(schedule) * made.correct
    )
    return replace(made, budget=allot(schedule, spent, made.solver))


def _solver(spec: str, *, plain: bool = False) -> Solver:
    """The solver of a spec; of a name that is none, the error names the presets too."""
    try:
        return find_solver(spec, plain=plain)
    except ValueError as error:
        unknown = spec.partition(":")[0].partition("+")[0] not in SOLVERS
        raise RnriError(f"{error}; presets are {', '.join(PRESETS)}" if unknown else str(error)) from error
