"""Ways to edit a picture by text, ours and others', all on the same models. To add one: a file and a line."""

from __future__ import annotations

from rnri.methods.base import Edited, EditMethod
from rnri.methods.bdia import Bdia
from rnri.methods.direct_inversion import DirectInversion
from rnri.methods.edict import Edict
from rnri.methods.edit_friendly import EditFriendly
from rnri.methods.fireflow import FireFlow
from rnri.methods.flow_edit import FlowEdit
from rnri.methods.infedit import InfEdit
from rnri.methods.inversion import Inversion
from rnri.methods.ledits import Ledits
from rnri.methods.rf_inversion import RFInversion
from rnri.methods.rf_solver import RFSolver
from rnri.methods.sdedit import SDEdit
from rnri.methods.turbo_edit import TurboEdit
from rnri.registry import make

METHODS: dict[str, type[EditMethod]] = {
    "inversion": Inversion,
    "sdedit": SDEdit,
    "edit-friendly": EditFriendly,
    "edict": Edict,
    "bdia": Bdia,
    "turboedit": TurboEdit,
    "direct-inversion": DirectInversion,
    "ledits++": Ledits,
    "infedit": InfEdit,
    "rf-inversion": RFInversion,
    "rf-solver": RFSolver,
    "fireflow": FireFlow,
    "flowedit": FlowEdit,
}

__all__ = ["METHODS", "EditMethod", "Edited", "method"]


def method(spec: str) -> EditMethod:
    """The method that ``spec`` names, with the fields it sets: ``"name"`` or ``"name:field=value,field=value"``.

    A value that holds a comma stands in quotes. Raises ``ValueError`` for what does not fit, saying what does.

    >>> made = method("inversion:solver='anderson:memory=2,mixing=0.5',steps=4,budget='5,1',guidance=1.5")
    >>> made.solver, made.steps, made.budget, made.guidance
    ('anderson:memory=2,mixing=0.5', 4, '5,1', 1.5)
    """
    return make(METHODS, spec, "method")
