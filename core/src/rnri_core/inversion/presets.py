"""Inverters by name: presets, solvers, edit-friendly inversion and the coupled samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.inversion.budget import allot, cost
from rnri_core.inversion.coupled import Bdia, Edict
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.inversion.implicit import Implicit, Init
from rnri_core.registry import Registered, make, spec_of
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers import SOLVERS, WRAPPERS, Wrapper
from rnri_core.solvers import solver as find_solver
from rnri_core.solvers.solve import Solver

TOL_ITERATIONS = 50
"""Iterations of a step under a tolerance, where no number is given."""

INVERTERS: Mapping[str, type[Registered]] = {"edit-friendly": EditFriendly, "edict": Edict, "bdia": Bdia}
"""Inverters that solve no equation, by name; every solver's name is that of an implicit inverter."""


@dataclass(frozen=True)
class Preset:
    """A named implicit inverter whose iterations follow from the schedule.

    Attributes:
        about: when to use it.
        solver: name of the solver.
        extra: network evaluations beyond one for each step (and one more for each noise map).
        init: initial guess of each step.
        noise_maps: whether noise maps are stored.
        edit_friendly_from: from so many steps on it is :class:`EditFriendly`, unless options of solving are given.
    """

    about: str
    solver: str
    extra: int
    init: Init
    noise_maps: bool
    edit_friendly_from: int | None = None


PRESETS: Mapping[str, Preset] = {
    "auto": Preset(
        "nearest to the target in edits: 2 evaluations a step, 1 from 8 steps on; reconstructs the image exactly",
        "barzilai-borwein",
        extra=0,
        init="noised-predicted",
        noise_maps=True,
        edit_friendly_from=8,  # on the tuning split, edits of 8 steps or more are nearer to the truth so, of 4 solved
    ),
    "faithful": Preset(
        "noise that reconstructs the image without noise maps, for more evaluations; edits change less",
        "barzilai-borwein",
        extra=16,
        init="predicted",
        noise_maps=False,
    ),
}

AnyInverter = Implicit | EditFriendly | Edict | Bdia


def check(spec: str, *, plain: bool = False) -> None:
    """Check that ``spec`` names a preset or is the spec of an inverter or a solver.

    Args:
        spec: a preset, or ``"name:option=value"``.
        plain: refuse options that take a file, for specs of requests.

    Raises:
        RnriError: where it is none; ``field`` is ``"inverter"``.

    >>> check("anderson:memory=5")
    """
    if spec not in PRESETS:
        _named(spec, plain=plain)


def inverter(
    how: str | Solver | AnyInverter,
    schedule: Schedule,
    *,
    calls: int | None = None,
    iterations: int | Sequence[int] | None = None,
    tol: float | None = None,
    init: Init | None = None,
    noise_maps: bool | None = None,
) -> AnyInverter:
    """The inverter of a name, spec or solver on a schedule; options override those of a preset.

    Args:
        how: a preset, a spec of :data:`INVERTERS` or of a solver, a solver, or an inverter (returned as it is).
        schedule: K steps; a preset allots its evaluations to them (:func:`rnri_core.inversion.budget.allot`).
        calls: network evaluations of a preset in all, those of noise maps included.
        iterations, tol, init, noise_maps: see :class:`Implicit`. With ``tol`` alone each step gets up to
            :data:`TOL_ITERATIONS`; a solver that is named alone gets those of its publication
            (:meth:`rnri_core.solvers.solve.Solver.iterations`).

    Raises:
        RnriError: for an unknown name, for options that the inverter does not take, for too few ``calls``.

    >>> import torch
    >>> from rnri_core.sampling.schedules import ddim
    >>> steps = ddim(torch.linspace(0.9995, 0.99, 1000).cumprod(0), [999, 749, 499, 249])
    >>> auto = inverter("auto", steps)
    >>> auto.iterations, auto.init, auto.noise_maps
    ([1, 1, 1, 1], 'noised-predicted', True)
    >>> inverter("gnri", steps).iterations, inverter("auto", steps, calls=16).iterations
    (2, [9, 1, 1, 1])
    >>> inverter("renoise", steps).iterations
    [6, 10, 10, 10]
    >>> many = ddim(torch.linspace(0.9995, 0.99, 1000).cumprod(0), range(999, 0, -50))
    >>> type(inverter("auto", many)).__name__, type(inverter("auto", many, iterations=1)).__name__
    ('EditFriendly', 'Implicit')
    """
    every = {"calls": calls, "iterations": iterations, "tol": tol, "init": init, "noise_maps": noise_maps}
    options: dict[str, Any] = {name: value for name, value in every.items() if value is not None}
    if isinstance(how, str) and how in PRESETS:
        return _of_preset(PRESETS[how], schedule, options)
    made = _named(how) if isinstance(how, str) else how
    if isinstance(made, (Implicit, EditFriendly, Edict, Bdia)):
        for name, value in options.items():
            raise RnriError(f"{name}={value!r} is for solvers, not for {how!r}", hint="leave it out", field=name)
        return made
    if calls is not None:
        raise RnriError(
            f"calls={calls} are for {', '.join(PRESETS)}", hint=f"give {how!r} iterations instead", field="calls"
        )
    if tol is not None:
        options.setdefault("iterations", TOL_ITERATIONS)
    published = [made.iterations(step.t) for step in reversed(schedule)]
    return replace(Implicit(made, published[0] if len(set(published)) == 1 else published), **options)


def invert(
    m: Denoiser,
    schedule: Schedule,
    z_clean: Tensor,
    how: str | Solver | AnyInverter = "auto",
    *,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Invert clean latents along a schedule.

    Args:
        m: the network, prompt and guidance bound.
        schedule: K steps, noisy to clean.
        z_clean: clean latents (B, …).
        how: a preset, a spec, a solver or an inverter.
        seed: seed of all noise.
        options: ``calls``, ``iterations``, ``tol``, ``init``, ``noise_maps``, see :func:`inverter`.

    Returns:
        An :class:`Inversion`; a :class:`PairInversion` by EDICT and BDIA.

    >>> import torch
    >>> from rnri_core.sampling.schedules import flow
    >>> steps, m = flow([1.0, 0.5, 0.0], [1000, 500]), lambda z, t: 0.1 * z
    >>> inversion = invert(m, steps, torch.ones(1, 4), "fixed-point", iterations=9)
    >>> torch.allclose(inversion.sample(m), torch.ones(1, 4))
    True
    """
    return inverter(how, schedule, **options).invert(m, schedule, z_clean, seed=seed)


def spec(made: AnyInverter | Solver) -> str:
    """The spec of an inverter, or of an implicit inverter's solver: its name and the fields that are not defaults.

    >>> spec(EditFriendly(shift=1)), spec(find_solver("gnri:eta=1+polish"))
    ('edit-friendly:shift=1', 'gnri:eta=1+polish')
    """
    if isinstance(made, Implicit):
        return spec(made.solver)
    if isinstance(made, Wrapper):
        return f"{spec(made.inner)}+{spec_of(WRAPPERS, made)}"
    return spec_of(INVERTERS if isinstance(made, tuple(INVERTERS.values())) else SOLVERS, made)


def _of_preset(preset: Preset, schedule: Schedule, options: dict[str, Any]) -> AnyInverter:
    steps, calls = len(schedule), options.get("calls")
    if calls is not None and "iterations" in options:
        raise RnriError("calls and iterations exclude each other", hint="give one of them", field="calls")
    solving = options.get("noise_maps") is False or bool(options.keys() - {"noise_maps", "calls"})
    if preset.edit_friendly_from is not None and steps >= preset.edit_friendly_from and not solving:
        if calls is not None and calls < steps:
            raise RnriError(
                f"calls={calls} are not one for each of {steps} steps",
                hint="give more, or take fewer steps",
                field="calls",
            )
        return EditFriendly()
    if "tol" in options and calls is None:
        options.setdefault("iterations", TOL_ITERATIONS)
    made = replace(
        Implicit(find_solver(preset.solver), 1, None, preset.init, preset.noise_maps),
        **{name: value for name, value in options.items() if name != "calls"},
    )
    if "iterations" in options:
        return made
    least = steps * (cost(made.solver, 1) + made.noise_maps)
    if calls is not None and calls < least:
        raise RnriError(
            f"calls={calls} are fewer than the {least} of one iteration for each of {steps} steps",
            hint="give more, or take fewer steps or another solver",
            field="calls",
        )
    own = steps * cost(made.solver, 1) + preset.extra
    return replace(
        made,
        iterations=allot(schedule, own if calls is None else calls - steps * made.noise_maps, made.solver),
    )


def _named(spec: str, *, plain: bool = False) -> Any:
    """The inverter or solver of a spec; of a name that is none, the error names the presets too."""
    if spec.partition(":")[0] in INVERTERS:
        return make(INVERTERS, spec, "inverter", plain=plain)
    try:
        return find_solver(spec, plain=plain)
    except ValueError as error:
        unknown = spec.partition(":")[0].partition("+")[0] not in SOLVERS
        others = f"; presets are {', '.join(PRESETS)}; inverters without a solver {', '.join(INVERTERS)}"
        raise RnriError(f"{error}{others}" if unknown else str(error), field="inverter") from error
