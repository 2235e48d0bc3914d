"""One solver per file, all found here by name. To add one: a file and a line."""

from __future__ import annotations

from rnri.solvers.anderson import Anderson
from rnri.solvers.averaged import Averaged
from rnri.solvers.broyden import Broyden
from rnri.solvers.chebyshev import Chebyshev
from rnri.solvers.explicit import Explicit
from rnri.solvers.fixed_point import FixedPoint
from rnri.solvers.forward_step import ForwardStep
from rnri.solvers.gnri import Gnri
from rnri.solvers.gnri_released import GnriReleased
from rnri.solvers.gradient import Gradient
from rnri.solvers.method import Method, Option
from rnri.solvers.newton_krylov import NewtonKrylov
from rnri.solvers.renoise import Renoise
from rnri.solvers.rnri import Rnri
from rnri.solvers.scalar_newton import ScalarNewton
from rnri.solvers.spd import Spd

SOLVERS: dict[str, type[Method]] = {
    "explicit": Explicit,
    "fixed-point": FixedPoint,
    "averaged": Averaged,
    "anderson": Anderson,
    "chebyshev": Chebyshev,
    "renoise": Renoise,
    "gradient": Gradient,
    "forward-step": ForwardStep,
    "spd": Spd,
    "rnri": Rnri,
    "gnri": Gnri,
    "gnri-released": GnriReleased,
    "scalar-newton": ScalarNewton,
    "broyden": Broyden,
    "newton-krylov": NewtonKrylov,
}

__all__ = ["SOLVERS", "Method", "Option", "citation", "solver"]


def solver(spec: str) -> Method:
    """The solver that ``spec`` names, with the fields it sets: ``"name"`` or ``"name:field=value,field=value"``.

    Raises ``ValueError`` for an unknown name, an unknown field or a value that does not fit, saying what does.

    >>> solver("gnri:eta=1,beta=dense")
    Gnri(weight=0.1, polish=0, beta='dense', smoothing=0.001, eta=1.0)
    """
    name, _, settings = spec.partition(":")
    method = _find(name)
    known = {option.name: option for option in method.options()}
    values: dict[str, object] = {}
    for setting in filter(None, settings.split(",")):
        field, given, text = (part.strip() for part in setting.partition("="))
        if field not in known:
            has = f"its fields are {', '.join(known)}" if known else "it has no fields"
            raise ValueError(f"solver {name!r} has no field {field!r}; {has}")
        if not given:
            raise ValueError(f"solver field {field!r} needs a value, as in {name}:{field}={known[field].default}")
        if field in values:
            raise ValueError(f"solver field {field!r} is given twice in {spec!r}")
        try:
            values[field] = known[field].parse(text)
        except ValueError as error:
            raise ValueError(f"solver {name!r}: {error}") from None
    return method(**values)


def citation(method: Method | str) -> str:
    """The BibTeX entry of the publication a solver comes from; a solver, or a ``spec`` that names one.

    >>> print(citation("gnri").splitlines()[0])
    @article{samuel2025gnri,
    """
    return (solver(method) if isinstance(method, str) else method).source.bibtex()


def _find(name: str) -> type[Method]:
    try:
        return SOLVERS[name]
    except KeyError:
        raise ValueError(f"no solver is called {name!r}; there are {', '.join(SOLVERS)}") from None
