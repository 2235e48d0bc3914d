"""Lines of measured edits to a page: each method's means with intervals, and ours against the best rival."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from rnri_core.errors import RnriError

from rnri.evaluation.datasets import DATASETS, Dataset
from rnri.evaluation.records import Key, Line
from rnri.evaluation.statistics import Difference, Estimate, holm, paired
from rnri.evaluation.tables import digits, measured_on, number, ruled
from rnri.metrics import METRICS, metric

Scores = Mapping[Key, float]


class Group(NamedTuple):
    """What methods are compared within."""

    benchmark: str
    data: str
    model: str
    fingerprint: str
    judges: tuple[str, ...]

    @classmethod
    def of(cls, line: Line) -> Group:
        """The group that a line belongs to."""
        told = line.configuration
        return cls(told["benchmark"], told["data"], told["model"], told["fingerprint"], tuple(told["judges"]))

    @property
    def dataset(self) -> type[Dataset]:
        """What the edits are a set of; ``ValueError`` for one that is not known."""
        if self.benchmark not in DATASETS:
            raise RnriError(f"benchmark {self.benchmark!r} is not known", hint=f"use {', '.join(DATASETS)}")
        return DATASETS[self.benchmark]


@dataclass(frozen=True)
class Row:
    """One method: for each metric the score of each picture, a mean over seeds; undefined ones are left out."""

    method: str
    pictures: tuple[Key, ...]
    scores: Mapping[str, Scores]
    nfe: float
    calls: float
    seconds: float
    diverged: float

    @classmethod
    def of(cls, method: str, lines: Sequence[Line], among: Iterable[Key]) -> Row:
        """Summarise what a method made of these pictures; seconds are the median."""
        kept = set(among)
        measured = [(line.image, line.measurement) for line in lines if line.image in kept]
        scores: dict[str, dict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
        for key, each in measured:
            for name, value in each["scores"].items():
                if value is not None:
                    scores[name][key].append(value)
        costs = [each for _, each in measured]
        return cls(
            method=method,
            pictures=tuple(dict.fromkeys(key for key, _ in measured)),
            scores={
                name: {key: float(np.mean(values)) for key, values in by_key.items()} for name, by_key in scores.items()
            },
            nfe=float(np.mean([each["nfe"] for each in costs])),
            calls=float(np.mean([each["nfe"] + 2 * (each["njvp"] + each["nvjp"]) for each in costs])),
            seconds=float(np.median([each["seconds"] for each in costs])),
            diverged=float(np.mean([each["status"] == "DIVERGED" for each in costs])),
        )

    def mean(self, name: str) -> Estimate:
        """The mean of a metric over the pictures that it is defined for."""
        return Estimate.of(list(self.scores.get(name, {}).values()), np.mean)


@dataclass(frozen=True)
class Duel:
    """Ours and the best of the others by one metric, over the pictures that both have; ``p`` is Holm's."""

    metric: str
    rival: str
    difference: Difference
    p: float

    @property
    def won(self) -> bool:
        """Whether ours is better in the mean."""
        return (self.difference.mean.value > 0) == (metric(self.metric).better == "higher")


@dataclass(frozen=True)
class Table:
    """All methods of a group, ours first, on the pictures that all of them have, and the bounds beside them."""

    group: Group
    lines: Sequence[Line]
    ours: str | None = None

    @cached_property
    def by_method(self) -> Mapping[str, list[Line]]:
        """Lines by method, ours first."""
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            found[line.configuration["method"]].append(line)
        if self.ours and self.ours not in found:
            raise RnriError(f"method {self.ours!r} is not among those measured", hint=f"{', '.join(found)}")
        return {self.ours: found.pop(self.ours), **found} if self.ours else found

    @cached_property
    def common(self) -> list[Key]:
        """The pictures that every method has, in order."""
        keys = [dict.fromkeys(line.image for line in lines) for lines in self.by_method.values()]
        return [key for key in keys[0] if all(key in other for other in keys)]

    @cached_property
    def rows(self) -> list[Row]:
        """The methods."""
        return self._rows([name for name in self.by_method if name not in self.group.dataset.bounds])

    @cached_property
    def bounds(self) -> list[Row]:
        """What is no method."""
        return self._rows([name for name in self.by_method if name in self.group.dataset.bounds])

    @cached_property
    def metrics(self) -> list[str]:
        """Those that some method has a number for, in the order of the registry."""
        return [name for name in METRICS if any(row.scores.get(name) for row in self.rows)]

    @cached_property
    def kinds(self) -> Mapping[str, list[Key]]:
        """The pictures of each kind of edit."""
        found: dict[str, list[Key]] = defaultdict(list)
        kinds = {line.image: line.measurement["kind"] for line in self.lines}
        for key in self.common:
            found[kinds[key]].append(key)
        return dict(sorted(found.items()))

    @cached_property
    def duels(self) -> list[Duel]:
        """Ours against the best rival by each metric that tells methods apart."""
        if len(self.rows) < 2:
            return []
        ours, *rivals = self.rows
        found: list[tuple[str, str, Difference]] = []
        for name in self.metrics:
            sign = 1 if metric(name).better == "higher" else -1
            known = [row for row in rivals if row.scores.get(name)]
            if name in _OF_THE_SOURCE or not known:
                continue
            best = max(known, key=lambda row: sign * row.mean(name).value)
            difference = paired(ours.scores.get(name, {}), best.scores[name])
            if difference:
                found.append((name, best.method, difference))
        corrected = holm([difference.p for _, _, difference in found])
        return [Duel(*each, p) for each, p in zip(found, corrected, strict=True)]

    def best(self, name: str) -> str | None:
        """The method with the best mean, if there are several."""
        sign = 1 if metric(name).better == "higher" else -1
        known = [row for row in self.rows if row.scores.get(name)]
        if len(known) < 2 or name in _OF_THE_SOURCE:
            return None
        return max(known, key=lambda row: sign * row.mean(name).value).method

    def _rows(self, names: Sequence[str]) -> list[Row]:
        return [Row.of(name, self.by_method[name], self.common) for name in names]


_OF_THE_SOURCE = ("clip_similarity_source_image",)
"""Metrics that no method has a part in."""


def tables(lines: Iterable[Line], ours: str | None = None) -> list[Table]:
    """One table for each set of edits and model. ``ours`` is the first method measured unless it is named.

    Raises ``ValueError`` if there is nothing to report, or if ours was not measured.
    """
    found: dict[Group, list[Line]] = defaultdict(list)
    for line in lines:
        found[Group.of(line)].append(line)
    made = [Table(group, some, ours) for group, some in found.items()]
    whole = [table for table in made if table.common and table.rows]
    if not whole:
        raise RnriError("there is nothing to report", hint="measure at least one picture by every method")
    return whole


def markdown(found: Sequence[Table], figures: Mapping[Group, Sequence[str]]) -> str:
    """The page: for each table, means with intervals, ours against the best rival, kinds of edits, and figures."""
    used = [name for name in METRICS if any(name in table.metrics for table in found)]
    parts = [_HEAD, ruled([["metric", "better", "what"], *(_described(name) for name in used)])]
    for table in found:
        parts += [f"## {table.group.benchmark}: {table.group.model}", _about(table), _means(table)]
        parts += [f"![{name}]({name})" for name in figures.get(table.group, ())]
        if table.duels:
            parts += ["### Against the best rival", _duels(table)]
        names = dict.fromkeys(name for name in (table.group.dataset.goal, table.group.dataset.rank) if name)
        if len(table.kinds) > 1:
            parts += [part for name in names if name in table.metrics for part in _kinds(table, name)]
    parts += ["## Measured on", *sorted({measured_on(line.run) for table in found for line in table.lines})]
    return "\n\n".join(parts) + "\n"


def summary(found: Sequence[Table]) -> list[dict[str, Any]]:
    """What the page says, for machines: a table each, numbers as they are, unknown ones ``None``."""
    return [
        {
            **table.group._asdict(),
            "pictures": len(table.common),
            "methods": [_facts(table, row) for row in (*table.rows, *table.bounds)],
            "against_best_rival": [
                {
                    "metric": duel.metric,
                    "rival": duel.rival,
                    "won": duel.won,
                    "n": duel.difference.pairs,
                    "difference": duel.difference.mean._asdict(),
                    "p": duel.p,
                }
                for duel in table.duels
            ],
        }
        for table in found
    ]


def _facts(table: Table, row: Row) -> dict[str, Any]:
    scores = {name: {**row.mean(name)._asdict(), "n": len(row.scores.get(name, {}))} for name in table.metrics}
    for each in scores.values():
        each.update({key: None for key, value in each.items() if math.isnan(value)})
    return {"method": row.method, "metrics": scores, "nfe": row.nfe, "calls": row.calls, "seconds": row.seconds}


_HEAD = """# Edits

Means over pictures, with 95 % intervals from resampling pictures. *n* is how many pictures a mean is of; where a metric
is undefined for some, such as the background of an edit that may change everything, its own n stands beside it. All
methods are compared on the same pictures. The best method of a column is bold. *NFE* counts network evaluations and
*calls* adds Jacobian products at two each, means; *seconds* is the median. *unedited* is the source as it is,
*autoencoded* the true picture, or else the source, after the model's autoencoder alone: both are no methods."""


def _described(name: str) -> list[str]:
    found = metric(name)
    return [_title(name), f"{found.better}", found.about]


def _title(name: str) -> str:
    found = metric(name)
    arrow = "↑" if found.better == "higher" else "↓"
    scale = "" if not found.power or found.unit == "%" else f" ×10{_RAISED[found.power]}"
    return f"{name}{scale}{f' {found.unit}' if found.unit else ''} {arrow}"


_RAISED = {2: "²", 3: "³", 4: "⁴"}


def _scaled(name: str, estimate: Estimate) -> Estimate:
    return Estimate(*(value * 10 ** metric(name).power for value in estimate))


def _about(table: Table) -> str:
    group = table.group
    every = len({line.image for line in table.lines})
    some = "" if every == len(table.common) else f", the ones of {every} that every method has"
    tuned = list(dict.fromkeys(line.run["tuned"] for line in table.lines if line.run.get("tuned")))
    settings = "; ".join(tuned) or "as declared by each method"
    seeds = sorted({line.configuration["seed"] for line in table.lines})
    parts = [
        f"Pictures: {group.data}; {len(table.common)} of them{some}.",
        f"Settings of methods: {settings}.",
        f"Weights {group.fingerprint[:12]}, seed {', '.join(map(str, seeds))}.",
    ]
    if group.judges:
        parts.append(f"Judged by {', '.join(group.judges)}.")
    return " ".join(parts)


def _means(table: Table) -> str:
    heads = ["method", "n", *map(_title, table.metrics), "NFE", "calls", "seconds", "diverged %"]
    rows = [heads]
    for row in (*table.rows, *table.bounds):
        bound = row in table.bounds
        name = f"*{row.method}*" if bound else f"`{row.method}`"
        costs = [number(row.nfe), number(row.calls), number(row.seconds), number(100 * row.diverged)]
        rows.append(
            [
                name,
                str(len(row.pictures)),
                *(_cell(table, row, name) for name in table.metrics),
                *(["–"] * 4 if bound else costs),
            ]
        )
    return ruled(rows)


def _cell(table: Table, row: Row, name: str) -> str:
    text = str(_scaled(name, row.mean(name)))
    if table.best(name) == row.method:
        text = f"**{text}**"
    count = len(row.scores.get(name, {}))
    return text if count in (0, len(row.pictures)) else f"{text}, n = {count}"


def _duels(table: Table) -> str:
    heads = ["metric", "best rival", "ours − rival", "n", "p", ""]
    rows = [heads]
    for duel in table.duels:
        verdict = "not told apart" if duel.p >= 0.05 else "ours is better" if duel.won else "the rival is better"
        chance = "< 0.001" if duel.p < 0.001 else f"{duel.p:.3f}"
        difference = _scaled(duel.metric, duel.difference.mean)
        rows.append(
            [_title(duel.metric), f"`{duel.rival}`", str(difference), str(duel.difference.pairs), chance, verdict]
        )
    return (
        f"Ours is `{table.rows[0].method}`. The rival is the one with the best mean by that metric. Differences are "
        "taken picture by picture; p is two-sided, from flipping their signs, and corrected for the number of metrics "
        "(Holm)."
        f"\n\n{ruled(rows)}"
    )


def _kinds(table: Table, name: str) -> list[str]:
    """A metric by kind of edit."""
    rows = [["kind", "n", *(f"`{row.method}`" for row in table.rows)]]
    for kind, keys in table.kinds.items():
        cells = []
        for row in table.rows:
            known = [row.scores[name][key] for key in keys if key in row.scores.get(name, {})]
            cells.append(digits(float(np.mean(known)) * 10 ** metric(name).power) if known else "–")
        rows.append([kind, str(len(keys)), *cells])
    return [f"### {_title(name)}, by kind of edit", ruled(rows)]
