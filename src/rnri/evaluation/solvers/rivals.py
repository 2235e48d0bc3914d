"""Ours against what is published, at equal or fewer network calls, by both rulers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from rnri_core.inversion.presets import INVERTERS, PRESETS
from rnri_core.solvers import OURS

from rnri.evaluation.records import Key, Line
from rnri.evaluation.solvers.settings import Setting, scores
from rnri.evaluation.statistics import Estimate
from rnri.evaluation.tables import number, ruled

Origin = Literal["ours", "published", "borrowed"]
DEFAULT = "auto"
"""The preset that has to hold its own against everything else."""


def origin(configuration: Mapping[str, Any]) -> Origin:
    """Whose method it is: ours in solver or preset, published as it is measured, or a published solver in our ways.

    >>> origin({"solver": "chebyshev:margin=0", "way": "published", "correct": False})
    'ours'
    >>> [origin({"solver": "gnri", "way": way, "correct": False}) for way in ("published", "informed")]
    ['published', 'borrowed']
    """
    if configuration["way"] == "preset" or re.split("[:+]", configuration["solver"])[0] in OURS:
        return "ours"
    return "published" if configuration["way"] == "published" and not configuration["correct"] else "borrowed"


def exact(configuration: Mapping[str, Any]) -> bool:
    """Whether it gives the picture back whatever was solved: by corrections, or by algebra.

    >>> exact({"solver": "edict", "correct": False}), exact({"solver": "chebyshev", "correct": False})
    (True, False)
    """
    name = configuration["solver"]
    return bool(configuration["correct"] or name in INVERTERS or (name in PRESETS and PRESETS[name].noise_maps))


@dataclass(frozen=True)
class Entry:
    """A method at the ``calls`` that it spent, the median, with the errors of each picture by both rulers.

    ``below_db`` is how far its PSNR stays below what the autoencoder alone reaches, in the mean.
    """

    method: str
    origin: Origin
    exact: bool
    calls: float
    errors: Mapping[Key, float]
    edits: Mapping[Key, float]
    below_db: float

    @classmethod
    def of(cls, method: str, lines: Sequence[Line], among: Set[Key], local: bool | None = None) -> Entry:
        """The lines of a method of these pictures whose edits are local or not, or of all of them."""
        some = [line for line in lines if line.image in among and local in (None, line.measurement["local"])]
        told = lines[0].configuration
        reached, bound = scores(some, "psnr_db"), scores(some, "bound_db")
        return cls(
            method,
            origin(told),
            exact(told),
            calls=float(np.median([line.measurement["cost"]["calls"] for line in lines])),
            errors=scores(some, "latent_rmse"),
            edits=scores(some, "edit_rmse"),
            below_db=float(np.mean([bound[key] - value for key, value in reached.items()] or [0.0])),
        )


def comparison(groups: Mapping[Setting, Mapping[str, Sequence[Line]]]) -> str:
    """Three tables: nearest of ours and of theirs, best edits of ours and of theirs, and the default against the rest.

    Each line is of all methods that spent at most so many calls, on the pictures that every one of them has.
    """
    kinds = {"all": None, "local": True, "global": False}
    near, ours, default = [_NEAR], [_EDITS], [_DEFAULT]
    certain: list[Entry] = []
    for setting in groups:
        within = [
            (name, lines)
            for other, methods in groups.items()
            if other._replace(calls=setting.calls) == setting and other.calls <= setting.calls
            for name, lines in methods.items()
        ]
        shared = set.intersection(*({line.image for line in lines} for _, lines in within))
        for what, local in kinds.items():
            entries = [Entry.of(name, lines, shared, local) for name, lines in within]
            if local is None:
                near += _nearest(setting, [each for each in entries if not each.exact])
                certain += [each for each in entries if each.exact and each.errors]
            rivals = _least((each for each in entries if each.origin == "published"), _edits)
            others = _least((each for each in entries if each.method != DEFAULT), _edits)
            ours += _duel(setting, what, _least((each for each in entries if each.origin == "ours"), _edits), rivals)
            default += _duel(setting, what, _least((e for e in entries if e.method == DEFAULT), _edits), others)
    parts = ["## Ours and the published", _RULES, "### Nearest", ruled(near), _apart(certain)]
    parts += ["### Best edits", ruled(ours)]
    if len(default) > 1:
        parts += [f"### `{DEFAULT}` against everything else", ruled(default)]
    return "\n\n".join(part for part in parts if part)


_RULES = f"""Of all that spent at most so many calls, the best of ours and the best published method as it is published.
*Ours* are the presets and the solvers {" and ".join(f"`{name}`" for name in OURS)};
a published solver in our ways is neither. Latent errors are medians, edit errors means. Ratios, ours over the
published, and differences, ours minus the other, are taken picture by picture, with 95 % intervals by resampling
pictures. Each line is of the n pictures that all those methods have."""

_SETTING = ["model", "split", "guidance", "steps", "calls"]
_NEAR = [*_SETTING, "ours", "published", "ratio", "n", "published solver in our ways"]
_EDITS = [*_SETTING, "edits", "ours", "published", "difference", "n"]
_DEFAULT = [*_SETTING, "edits", DEFAULT, "best of the rest", "difference", "n"]


def _error(entry: Entry) -> float:
    return float(np.median(list(entry.errors.values())))


def _edits(entry: Entry) -> float:
    return float(np.mean(list(entry.edits.values())))


def _least(entries: Iterable[Entry], by: Callable[[Entry], float]) -> Entry | None:
    """The best by a ruler, of those with pictures; of equals the one with the fewest calls."""
    return min((each for each in entries if each.edits), key=lambda each: (by(each), each.calls), default=None)


def _nearest(setting: Setting, entries: Sequence[Entry]) -> list[list[str]]:
    best = {
        whose: _least((each for each in entries if each.origin == whose), _error)
        for whose in ("ours", "published", "borrowed")
    }
    ours, published = best["ours"], best["published"]
    if ours is None or published is None:
        return []
    ratio, pairs = Estimate.ratio(ours.errors, published.errors), len(ours.errors.keys() & published.errors.keys())
    cells = [_cell(each, _error, setting.calls) for each in (ours, published, best["borrowed"])]
    return [[*setting.cells, *cells[:2], str(ratio), str(pairs), cells[2]]]


def _duel(setting: Setting, what: str, ours: Entry | None, other: Entry | None) -> list[list[str]]:
    if ours is None or other is None:
        return []
    differences = [
        0.0 if value == other.edits[key] else value - other.edits[key]  # both may be infinite
        for key, value in ours.edits.items()
        if key in other.edits
    ]
    cells = [_cell(each, _edits, setting.calls) for each in (ours, other)]
    return [[*setting.cells, what, *cells, str(Estimate.of(differences, np.mean)), str(len(differences))]]


def _cell(entry: Entry | None, by: Callable[[Entry], float], calls: int) -> str:
    if entry is None:
        return "–"
    fewer = "" if entry.calls == calls else f" ({number(entry.calls)} calls)"
    return f"{entry.method}: {number(by(entry))}{fewer}"


def _apart(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(each.method for each in entries))
    return (
        f"Exact by corrections or by algebra, whatever was solved, and so left out here: {names}. The largest of their "
        f"median latent errors is {number(max(map(_error, entries)))}; in the mean, pictures come out at most "
        f"{max(each.below_db for each in entries):.3f} dB below the autoencoder alone."
    )
