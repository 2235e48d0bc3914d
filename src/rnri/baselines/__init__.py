"""Methods of editing by text, ours and published ones, all on the same models. To add one: a file and a line."""

from __future__ import annotations

from rnri_core.registry import make

from rnri.baselines.base import EditMethod, MethodResult
from rnri.baselines.coupled import BdiaBaseline, EdictBaseline
from rnri.baselines.direct_inversion import DirectInversion
from rnri.baselines.edit_friendly import EditFriendlyBaseline
from rnri.baselines.fireflow import FireFlow
from rnri.baselines.flow_edit import FlowEdit
from rnri.baselines.infedit import InfEdit
from rnri.baselines.inversion import InversionBaseline
from rnri.baselines.ledits import Ledits
from rnri.baselines.rf_inversion import RFInversion
from rnri.baselines.rf_solver import RFSolver
from rnri.baselines.sdedit import SDEdit
from rnri.baselines.turbo_edit import TurboEdit

METHODS: dict[str, type[EditMethod]] = {
    "inversion": InversionBaseline,
    "sdedit": SDEdit,
    "edit-friendly": EditFriendlyBaseline,
    "edict": EdictBaseline,
    "bdia": BdiaBaseline,
    "turboedit": TurboEdit,
    "direct-inversion": DirectInversion,
    "ledits++": Ledits,
    "infedit": InfEdit,
    "rf-inversion": RFInversion,
    "rf-solver": RFSolver,
    "fireflow": FireFlow,
    "flowedit": FlowEdit,
}

__all__ = ["METHODS", "EditMethod", "MethodResult", "method"]


def method(spec: str) -> EditMethod:
    """The method of a spec, ``"name"`` or ``"name:field=value,field=value"``; a value with a comma stands in quotes.

    Raises ``RnriError`` for an unknown name or field and for a value out of range.

    >>> baseline = method("inversion:inverter='anderson:memory=2,mixing=0.5',steps=4,iterations='5,1',guidance=1.5")
    >>> baseline.inverter, baseline.steps, baseline.iterations, baseline.guidance
    ('anderson:memory=2,mixing=0.5', 4, '5,1', 1.5)
    """
    return make(METHODS, spec, "method")
