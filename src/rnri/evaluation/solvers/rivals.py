"""Our solvers against the published ones, at equal or fewer network calls, in fidelity and in edits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from rnri_core.solvers import OURS

from rnri.evaluation.records import Key
from rnri.evaluation.solvers.convergence import ConvergenceLine, SolverSetting
from rnri.evaluation.solvers.groups import Groups, SolverGroup, scores
from rnri.evaluation.statistics import Estimate
from rnri.evaluation.tables import number, ruled

DEFAULT = "auto"
"""The preset that is compared with everything else."""


@dataclass(frozen=True)
class Entry:
    """A method at its median number of ``calls``, with the errors of each picture.

    ``setting`` is that of one of its lines; ``below_db`` is the mean distance of its PSNR to what the autoencoder alone
    reaches.
    """

    method: str
    setting: SolverSetting
    calls: float
    errors: Mapping[Key, float]
    edits: Mapping[Key, float]
    below_db: float

    @classmethod
    def of(cls, method: str, lines: Sequence[ConvergenceLine], among: Set[Key], local: bool | None = None) -> Entry:
        """The lines of a method of these pictures whose edits are local or not, or of all of them."""
        some = [line for line in lines if line.image in among and local in (None, line.measurement.local)]
        below = [
            scores(some, lambda each: each.bound_db)[key] - value
            for key, value in scores(some, lambda each: each.psnr_db).items()
        ]
        return cls(
            method,
            lines[0].configuration,
            calls=float(np.median([line.measurement.cost.calls for line in lines])),
            errors=scores(some, lambda each: each.latent_rmse),
            edits=scores(some, lambda each: each.edit_rmse),
            below_db=float(np.mean(below or [0.0])),
        )


def comparison(groups: Groups) -> str:
    """Three tables: nearest of ours and of theirs, best edits of ours and of theirs, and the default against the rest.

    Each line is of all methods that spent at most so many calls, on the pictures that every one of them has.
    """
    kinds = {"all": None, "local": True, "global": False}
    near, ours, default = [_NEAR], [_EDITS], [_DEFAULT]
    certain: list[Entry] = []
    for group in groups:
        within = [
            (name, lines)
            for other, methods in groups.items()
            if other._replace(calls=group.calls) == group and other.calls <= group.calls
            for name, lines in methods.items()
        ]
        shared = set.intersection(*({line.image for line in lines} for _, lines in within))
        for kind, local in kinds.items():
            entries = [Entry.of(name, lines, shared, local) for name, lines in within]
            if local is None:
                near += _nearest(group, [each for each in entries if not each.setting.exact])
                certain += [each for each in entries if each.setting.exact and each.errors]
            best = {
                origin: _least((each for each in entries if each.setting.origin == origin), _edits)
                for origin in ("ours", "published")
            }
            others = _least((each for each in entries if each.method != DEFAULT), _edits)
            ours += _duel(group, kind, best["ours"], best["published"])
            default += _duel(group, kind, _least((e for e in entries if e.method == DEFAULT), _edits), others)
    parts = ["## Ours and the published", _RULES, "### Nearest", ruled(near), _exact(certain)]
    parts += ["### Best edits", ruled(ours)]
    if len(default) > 1:
        parts += [f"### `{DEFAULT}` against everything else", ruled(default)]
    return "\n\n".join(part for part in parts if part)


_RULES = f"""Of all that spent at most so many calls, the best of ours and the best published method as it is published.
*Ours* are the presets and the solvers {" and ".join(f"`{name}`" for name in OURS)};
a published solver in our ways is neither. Latent errors are medians, edit errors means. Ratios, ours over the
published, and differences, ours minus the other, are taken picture by picture, with 95 % intervals by resampling
pictures. Each line is of the n pictures that all those methods have."""

_GROUP = ["model", "split", "guidance", "steps", "calls"]
_NEAR = [*_GROUP, "ours", "published", "ratio", "n", "published solver in our ways"]
_EDITS = [*_GROUP, "edits", "ours", "published", "difference", "n"]
_DEFAULT = [*_GROUP, "edits", DEFAULT, "best of the rest", "difference", "n"]


def _error(entry: Entry) -> float:
    return float(np.median(list(entry.errors.values())))


def _edits(entry: Entry) -> float:
    return float(np.mean(list(entry.edits.values())))


def _least(entries: Iterable[Entry], by: Callable[[Entry], float]) -> Entry | None:
    """The best entry with pictures; of equals the one with the fewest calls."""
    return min((each for each in entries if each.edits), key=lambda each: (by(each), each.calls), default=None)


def _nearest(group: SolverGroup, entries: Sequence[Entry]) -> list[list[str]]:
    ours, published, borrowed = (
        _least((each for each in entries if each.setting.origin == origin), _error)
        for origin in ("ours", "published", "borrowed")
    )
    if ours is None or published is None:
        return []
    ratio, pairs = Estimate.ratio(ours.errors, published.errors), len(ours.errors.keys() & published.errors.keys())
    cells = [_cell(each, _error, group.calls) for each in (ours, published, borrowed)]
    return [[*group.cells, *cells[:2], str(ratio), str(pairs), cells[2]]]


def _duel(group: SolverGroup, kind: str, ours: Entry | None, other: Entry | None) -> list[list[str]]:
    if ours is None or other is None:
        return []
    differences = [
        0.0 if value == other.edits[key] else value - other.edits[key]  # both may be infinite
        for key, value in ours.edits.items()
        if key in other.edits
    ]
    cells = [_cell(each, _edits, group.calls) for each in (ours, other)]
    return [[*group.cells, kind, *cells, str(Estimate.of(differences, np.mean)), str(len(differences))]]


def _cell(entry: Entry | None, by: Callable[[Entry], float], calls: int) -> str:
    if entry is None:
        return "–"
    fewer = "" if entry.calls == calls else f" ({number(entry.calls)} calls)"
    return f"{entry.method}: {number(by(entry))}{fewer}"


def _exact(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(each.method for each in entries))
    return (
        f"Exact by corrections or by algebra, whatever was solved, and so left out here: {names}. The largest of their "
        f"median latent errors is {number(max(map(_error, entries)))}; in the mean, pictures come out at most "
        f"{max(each.below_db for each in entries):.3f} dB below the autoencoder alone."
    )
