"""Solvers by name, one per file. To add one: a file, and a line in :data:`SOLVERS`."""

from __future__ import annotations

import re

from rnri_core.errors import RnriError
from rnri_core.registry import Registry, make
from rnri_core.solvers.anneal import Anneal
from rnri_core.solvers.base import Method, Option
from rnri_core.solvers.best_so_far import BestSoFar
from rnri_core.solvers.polish import Polish
from rnri_core.solvers.wrapper import Wrapper

SOLVERS: Registry[type[Method]] = Registry(
    "rnri.solvers",
    {
        "explicit": "rnri_core.solvers.explicit:Explicit",
        "fixed-point": "rnri_core.solvers.fixed_point:FixedPoint",
        "averaged": "rnri_core.solvers.averaged:Averaged",
        "anderson": "rnri_core.solvers.anderson:Anderson",
        "chebyshev": "rnri_core.solvers.chebyshev:Chebyshev",
        "barzilai-borwein": "rnri_core.solvers.barzilai_borwein:BarzilaiBorwein",
        "renoise": "rnri_core.solvers.renoise:Renoise",
        "gradient": "rnri_core.solvers.gradient:Gradient",
        "forward-step": "rnri_core.solvers.forward_step:ForwardStep",
        "spd": "rnri_core.solvers.spd:Spd",
        "rnri": "rnri_core.solvers.rnri:Rnri",
        "gnri": "rnri_core.solvers.gnri:Gnri",
        "gnri-released": "rnri_core.solvers.gnri_released:GnriReleased",
        "scalar-newton": "rnri_core.solvers.scalar_newton:ScalarNewton",
        "broyden": "rnri_core.solvers.broyden:Broyden",
        "newton-krylov": "rnri_core.solvers.newton_krylov:NewtonKrylov",
    },
)
"""Solvers by name; those of other distributions are in the entry-point group ``rnri.solvers``."""

OURS = ("chebyshev", "barzilai-borwein")
"""Solvers from numerical analysis that no publication on inversion uses; reports compare the others with them."""

WRAPPERS: dict[str, type[Wrapper]] = {
    "best-so-far": BestSoFar,
    "polish": Polish,
    "anneal": Anneal,
}
"""Wrappers of a solver by name."""

__all__ = ["OURS", "SOLVERS", "WRAPPERS", "Method", "Option", "Wrapper", "solver"]

MAX_WRAPPERS = 8
"""Wrappers around one solver."""


def solver(spec: str, *, plain: bool = False) -> Method:
    """The solver of a spec.

    Args:
        spec: ``"name"`` or ``"name:option=value,option=value"``, then up to :data:`MAX_WRAPPERS` times ``"+wrapper"``
            with options in the same form, each around all to its left.
        plain: refuse options that take a file, for specs of requests.

    Raises:
        RnriError: for an unknown name or option, and for a value that does not fit; it lists those that do.

    >>> solver("gnri:eta=1,beta=dense")
    Gnri(weight=0.1, beta='dense', smoothing=0.001, eta=1.0)
    >>> solver("explicit+polish:steps=2+best-so-far")
    BestSoFar(inner=Polish(inner=Explicit(), steps=2))
    """
    first, *around = re.split(r"\+(?=[a-z])", spec)
    if len(around) > MAX_WRAPPERS:
        raise RnriError(f"{len(around)} wrappers are around {first[:100]!r}", hint=f"give at most {MAX_WRAPPERS}")
    name = first.partition(":")[0]
    hint = f"; {name} is a wrapper, and follows a solver: gnri+{name}" if name in WRAPPERS else ""
    method = make(SOLVERS, first, "solver", hint=hint, plain=plain)
    for part in around:
        method = make(WRAPPERS, part, "wrapper", inner=method, plain=plain)
    return method
