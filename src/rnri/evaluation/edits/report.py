"""The page of measured edits: each method's means with intervals, and ours against the best rival."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from rnri_core.errors import RnriError

from rnri.evaluation.datasets import DATASETS, Dataset
from rnri.evaluation.edits.run import EditLine, EditMeasurement
from rnri.evaluation.records import Key
from rnri.evaluation.statistics import Difference, Estimate, holm, paired
from rnri.evaluation.tables import digits, measured_on, number, ruled
from rnri.metrics import METRICS, metric

Scores = Mapping[Key, float]


class Group(NamedTuple):
    """What methods are compared within: a set of edits, a model and the networks of the metrics."""

    benchmark: str
    data: str
    model: str
    fingerprint: str
    judges: tuple[str, ...]

    @classmethod
    def of(cls, line: EditLine) -> Group:
        """The group that a line belongs to."""
        setting = line.configuration
        return cls(setting.benchmark, setting.data, setting.model, setting.fingerprint, setting.judges)

    @property
    def dataset(self) -> type[Dataset]:
        """The kind of set; ``RnriError`` for an unknown one."""
        if self.benchmark not in DATASETS:
            raise RnriError(f"benchmark {self.benchmark!r} is not known", hint=f"use {', '.join(DATASETS)}")
        return DATASETS[self.benchmark]


@dataclass(frozen=True)
class MethodSummary:
    """One method over some pictures."""

    method: str
    lines: Sequence[EditLine]

    @cached_property
    def pictures(self) -> tuple[Key, ...]:
        """The pictures."""
        return tuple(dict.fromkeys(line.image for line in self.lines))

    @cached_property
    def scores(self) -> Mapping[str, Scores]:
        """For each metric the score of each picture, a mean over seeds; undefined scores are left out."""
        values: dict[str, dict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
        for line in self.lines:
            for name, value in line.measurement.scores.items():
                if value is not None:
                    values[name][line.image].append(value)
        return {name: {key: float(np.mean(some)) for key, some in by.items()} for name, by in values.items()}

    def cost(self, of: Callable[[EditMeasurement], float], statistic: Callable[..., Any] = np.mean) -> float:
        """A statistic of some cost."""
        return float(statistic([of(line.measurement) for line in self.lines]))

    @property
    def nfe(self) -> float:
        """Mean network evaluations."""
        return self.cost(lambda each: each.nfe)

    @property
    def calls(self) -> float:
        """Mean network evaluations, an exact product counted as two."""
        return self.cost(lambda each: each.calls)

    @property
    def seconds(self) -> float:
        """Median seconds."""
        return self.cost(lambda each: each.seconds, np.median)

    @cached_property
    def means(self) -> Mapping[str, Estimate]:
        """The mean of each metric over the pictures that it is defined for."""
        return {name: Estimate.of(list(scores.values()), np.mean) for name, scores in self.scores.items()}

    def mean(self, name: str) -> Estimate:
        """The mean of a metric; not a number where it is defined for no picture."""
        return self.means.get(name, Estimate(math.nan, math.nan, math.nan))


@dataclass(frozen=True)
class Duel:
    """Ours and the best of the others by one metric, over the pictures that both have; ``p`` is corrected by Holm."""

    metric: str
    rival: str
    difference: Difference
    p: float

    @property
    def won(self) -> bool:
        """Whether the mean of ours is better."""
        return metric(self.metric).sign * self.difference.mean.value > 0


@dataclass(frozen=True)
class Table:
    """All methods of a group, ours first, on the pictures that all of them have, and the bounds beside them."""

    group: Group
    lines: Sequence[EditLine]
    ours: str | None = None

    @cached_property
    def by_method(self) -> Mapping[str, list[EditLine]]:
        """Lines by method, ours first."""
        lines: dict[str, list[EditLine]] = defaultdict(list)
        for line in self.lines:
            lines[line.configuration.method].append(line)
        if self.ours and self.ours not in lines:
            raise RnriError(f"method {self.ours!r} is not among those measured", hint=f"{', '.join(lines)}")
        return {self.ours: lines.pop(self.ours), **lines} if self.ours else lines

    @cached_property
    def common(self) -> list[Key]:
        """The pictures that every method has, in order."""
        keys = [dict.fromkeys(line.image for line in lines) for lines in self.by_method.values()]
        return [key for key in keys[0] if all(key in other for other in keys)]

    @cached_property
    def rows(self) -> list[MethodSummary]:
        """The methods."""
        return [each for each in self._summaries if each.method not in self.group.dataset.bounds]

    @cached_property
    def bounds(self) -> list[MethodSummary]:
        """The bounds, which are no methods."""
        return [each for each in self._summaries if each.method in self.group.dataset.bounds]

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics that some method has a number for, in the order of the registry."""
        return [name for name in METRICS if any(row.scores.get(name) for row in self.rows)]

    @cached_property
    def kinds(self) -> Mapping[str, list[Key]]:
        """The pictures of each kind of edit."""
        kinds = {line.image: line.measurement.kind for line in self.lines}
        keys: dict[str, list[Key]] = defaultdict(list)
        for key in self.common:
            keys[kinds[key]].append(key)
        return dict(sorted(keys.items()))

    @cached_property
    def duels(self) -> list[Duel]:
        """Ours against the best rival by each metric of edits."""
        if len(self.rows) < 2:
            return []
        ours, *rivals = self.rows
        differences: list[tuple[str, str, Difference]] = []
        for name in self.metrics:
            rival = _best(rivals, name)
            difference = paired(ours.scores.get(name, {}), rival.scores[name]) if rival else None
            if rival and difference:
                differences.append((name, rival.method, difference))
        corrected = holm([difference.p for _, _, difference in differences])
        return [Duel(*each, p) for each, p in zip(differences, corrected, strict=True)]

    def best(self, name: str) -> str | None:
        """The method with the best mean, if there are several."""
        best = _best(self.rows, name)
        return best.method if best and sum(bool(row.scores.get(name)) for row in self.rows) > 1 else None

    @cached_property
    def _summaries(self) -> list[MethodSummary]:
        common = set(self.common)
        return [
            MethodSummary(name, [line for line in lines if line.image in common])
            for name, lines in self.by_method.items()
        ]


def _best(rows: Sequence[MethodSummary], name: str) -> MethodSummary | None:
    """The method with the best mean of a metric; ``None`` for metrics that methods do not influence."""
    known = [] if name in _OF_THE_SOURCE else [row for row in rows if row.scores.get(name)]
    return max(known, key=lambda row: metric(name).sign * row.mean(name).value, default=None)


_OF_THE_SOURCE = ("clip_similarity_source_image",)
"""Metrics that methods do not influence."""


def tables(lines: Iterable[EditLine], ours: str | None = None) -> list[Table]:
    """One table for each set of edits and model. ``ours`` is the first method measured unless it is named.

    Raises ``RnriError`` where there is nothing to report, and where ours was not measured.
    """
    groups: dict[Group, list[EditLine]] = defaultdict(list)
    for line in lines:
        groups[Group.of(line)].append(line)
    whole = [table for group, some in groups.items() if (table := Table(group, some, ours)).common and table.rows]
    if not whole:
        raise RnriError("there is nothing to report", hint="measure at least one picture by every method")
    return whole


def markdown(reported: Sequence[Table], figures: Mapping[Group, Sequence[str]]) -> str:
    """The page: for each table, means with intervals, ours against the best rival, kinds of edits, and figures."""
    used = [name for name in METRICS if any(name in table.metrics for table in reported)]
    parts = [_HEAD, ruled([["metric", "better", "what"], *(_described(name) for name in used)])]
    for table in reported:
        parts += [f"## {table.group.benchmark}: {table.group.model}", _about(table), _means(table)]
        parts += [f"![{name}]({name})" for name in figures.get(table.group, ())]
        if table.duels:
            parts += ["### Against the best rival", _duels(table)]
        names = dict.fromkeys(name for name in (table.group.dataset.goal, table.group.dataset.rank) if name)
        if len(table.kinds) > 1:
            parts += [part for name in names if name in table.metrics for part in _kinds(table, name)]
    parts += ["## Measured on", *sorted({measured_on(line.run) for table in reported for line in table.lines})]
    return "\n\n".join(parts) + "\n"


def summary(reported: Sequence[Table]) -> list[dict[str, Any]]:
    """The content of the page for machines: a table each, numbers unscaled, unknown ones ``None``."""
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
        for table in reported
    ]


def _facts(table: Table, row: MethodSummary) -> dict[str, Any]:
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
    return [_title(name), metric(name).better, metric(name).about]


def _title(name: str) -> str:
    shown = metric(name)
    scale = "" if not shown.power or shown.unit == "%" else f" ×10{_RAISED[shown.power]}"
    return f"{name}{scale}{f' {shown.unit}' if shown.unit else ''} {'↑' if shown.sign > 0 else '↓'}"


_RAISED = {2: "²", 3: "³", 4: "⁴"}


def _about(table: Table) -> str:
    group = table.group
    every = len({line.image for line in table.lines})
    some = "" if every == len(table.common) else f", the ones of {every} that every method has"
    tuned = list(dict.fromkeys(line.run.tuned for line in table.lines if line.run.tuned))
    settings = "; ".join(tuned) or "as declared by each method"
    seeds = sorted({line.configuration.seed for line in table.lines})
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
        diverged = row.cost(lambda each: each.status == "DIVERGED")
        costs = [number(row.nfe), number(row.calls), number(row.seconds), number(100 * diverged)]
        rows.append(
            [
                name,
                str(len(row.pictures)),
                *(_cell(table, row, name) for name in table.metrics),
                *(["–"] * 4 if bound else costs),
            ]
        )
    return ruled(rows)


def _cell(table: Table, row: MethodSummary, name: str) -> str:
    text = str(row.mean(name).scaled(metric(name).factor))
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
        difference = duel.difference.mean.scaled(metric(duel.metric).factor)
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
    """The means of a metric by kind of edit."""
    rows = [["kind", "n", *(f"`{row.method}`" for row in table.rows)]]
    for kind, keys in table.kinds.items():
        cells = []
        for row in table.rows:
            known = [row.scores[name][key] for key in keys if key in row.scores.get(name, {})]
            cells.append(digits(float(np.mean(known)) * metric(name).factor) if known else "–")
        rows.append([kind, str(len(keys)), *cells])
    return [f"### {_title(name)}, by kind of edit", ruled(rows)]
