"""The settings of an inversion, as one value for Python, command line, HTTP and page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypeGuard

from rnri_core.errors import RnriError
from rnri_core.inversion.implicit import INITS, Init
from rnri_core.inversion.presets import AnyInverter, check, inverter
from rnri_core.sampling.steps import Schedule
from rnri_core.solvers.solve import Solver

MAX_GUIDANCE, MAX_SEED = 100.0, 2**63 - 1


@dataclass(frozen=True)
class InversionConfig:
    """Settings of an inversion; ``None`` leaves a choice to the inverter or the model.

    Attributes:
        inverter: a preset (``auto``, ``faithful``), a spec such as ``"anderson:memory=5"`` or ``"edit-friendly"``, a
            solver or an inverter.
        steps: sampling steps between noise and image; the model's own number.
        strength: share of the steps that is inverted, in (0, 1], as in image-to-image pipelines.
        guidance: guidance scale while inverting, 0 to 100; none.
        iterations: of each step, or a plan from the image outwards whose last entry repeats.
        calls: network evaluations of a preset in all, at most.
        tol: residual at which an image stops iterating.
        init: initial guess of each step.
        noise_maps: store the difference to the next latents for each step.
        seed: seed of all noise, 0 to 2⁶³ − 1.
        resolution: (width, height) in pixels at which the network works.

    Raises:
        RnriError: for a value out of range; ``field`` names it.

    >>> InversionConfig(inverter="anderson:memory=5", steps=8).steps
    8
    >>> InversionConfig(strength=1.5)
    Traceback (most recent call last):
    rnri_core.errors.RnriError: strength=1.5 is out of range: give more than 0 and at most 1
    """

    inverter: str | Solver | AnyInverter = "auto"
    steps: int | None = None
    strength: float = 1.0
    guidance: float | None = None
    iterations: int | Sequence[int] | None = None
    calls: int | None = None
    tol: float | None = None
    init: Init | None = None
    noise_maps: bool | None = None
    seed: int = 0
    resolution: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.inverter, str):
            check(self.inverter)
        if self.guidance is not None:
            check_guidance(self.guidance)
        check_seed(self.seed)
        if not (is_real(self.strength) and 0 < self.strength <= 1):
            raise _out_of_range("strength", self.strength, "give more than 0 and at most 1")
        for name in ("steps", "calls", "iterations"):
            value = getattr(self, name)
            several = name == "iterations" and isinstance(value, Sequence) and not isinstance(value, str)
            counts = value if several and value else (value,)
            if value is not None and not all(is_whole(each) and each > 0 for each in counts):
                raise _out_of_range(name, value, "give a whole number from 1" + ", or several" * several)
        if self.tol is not None and not (is_real(self.tol) and self.tol > 0):
            raise _out_of_range("tol", self.tol, "give a positive number, or none for all iterations")
        if self.init is not None and self.init not in INITS:
            raise RnriError(f"init={self.init!r} is not one of {', '.join(INITS)}", field="init")

    def inverter_for(self, schedule: Schedule) -> AnyInverter:
        """The inverter that these settings name on a schedule; see :func:`rnri_core.inversion.presets.inverter`."""
        return inverter(
            self.inverter,
            schedule,
            calls=self.calls,
            iterations=self.iterations,
            tol=self.tol,
            init=self.init,
            noise_maps=self.noise_maps,
        )


def is_real(value: object) -> TypeGuard[float]:
    """Whether a value is a number; truth values are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, such as an ``int`` or an integer of numpy; truth values are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_guidance(guidance: float) -> None:
    """Raise ``RnriError`` for a guidance scale outside 0 to 100."""
    if not (is_real(guidance) and 0 <= guidance <= MAX_GUIDANCE):
        raise _out_of_range("guidance", guidance, f"give 0 to {MAX_GUIDANCE:g}, 0 for none")


def check_seed(seed: int) -> None:
    """Raise ``RnriError`` for what no generator takes."""
    if not (is_whole(seed) and 0 <= seed <= MAX_SEED):
        raise _out_of_range("seed", seed, f"give a whole number from 0 to {MAX_SEED}")


def _out_of_range(field: str, value: object, hint: str) -> RnriError:
    return RnriError(f"{field}={value} is out of range", hint=hint, field=field)
