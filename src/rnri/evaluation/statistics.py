"""Statistics of measured pictures: means with intervals, and whether two methods differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from rnri_core.errors import RnriError

from rnri.evaluation.tables import digits

Key = TypeVar("Key")

RESAMPLES = 2000
_FLIPS = 9999


class Estimate(NamedTuple):
    """A statistic of some pictures, and its 95 % percentile bootstrap interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], statistic: Callable[..., Any] = np.median) -> Estimate:
        """Estimate a statistic, such as ``numpy.median`` or ``numpy.mean``; of no values it is not a number.

        >>> Estimate.of([1.0, 2.0, 3.0, 2.0])
        Estimate(value=2.0, low=1.0, high=3.0)
        """
        return _bootstrapped(statistic, values)

    @classmethod
    def ratio(
        cls, ours: Mapping[Key, float], theirs: Mapping[Key, float], statistic: Callable[..., Any] = np.median
    ) -> Estimate:
        """A statistic of ours over that of theirs, over the pictures that both have, resampled in pairs.

        >>> Estimate.ratio({1: 1.0, 2: 3.0, 3: 9.0}, {1: 2.0, 2: 6.0})
        Estimate(value=0.5, low=0.5, high=0.5)
        """
        keys = [key for key in ours if key in theirs]

        def quotient(over: Any, under: Any, axis: int) -> Any:
            return statistic(over, axis=axis) / statistic(under, axis=axis)

        return _bootstrapped(quotient, [ours[key] for key in keys], [theirs[key] for key in keys])

    @classmethod
    def share(cls, right: Sequence[float], counted: Sequence[float]) -> Estimate:
        """Σ right / Σ counted over pictures that have several things to count each.

        >>> Estimate.share([1, 1], [2, 2])
        Estimate(value=0.5, low=0.5, high=0.5)
        """
        return _bootstrapped(lambda some, all_, axis: some.sum(axis) / all_.sum(axis), right, counted)

    def scaled(self, factor: float) -> Estimate:
        """All three numbers times a factor."""
        return Estimate(*(factor * value for value in self))

    def __str__(self) -> str:
        return "–" if math.isnan(self.value) else f"{digits(self.value)} ({digits(self.low)} to {digits(self.high)})"


def _bootstrapped(statistic: Callable[..., Any], *samples: Sequence[float]) -> Estimate:
    """A statistic of paired samples of equal length. Resampled values may be infinite, and so may ends of intervals."""
    require()
    from scipy.stats import bootstrap

    arrays = tuple(np.asarray(sample, dtype=float) for sample in samples)
    if not len(arrays[0]):
        return Estimate(math.nan, math.nan, math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(*arrays, axis=-1))
        if len(arrays[0]) == 1:  # scipy resamples two and more
            return Estimate(value, value, value)
        result = bootstrap(
            arrays,
            statistic,
            n_resamples=RESAMPLES,
            vectorized=True,
            paired=True,
            method="percentile",
            rng=np.random.default_rng(0),
        )
        # Interpolating, as scipy's own interval does, is not a number between infinite values.
        low, high = np.quantile(result.bootstrap_distribution, (0.025, 0.975), method="closest_observation")
    return Estimate(value, float(low), float(high))


@dataclass(frozen=True)
class Difference:
    """The mean difference of two methods over the pictures that both have, and its two-sided p-value.

    ``p`` is from flipping the signs of the differences: where the two methods are alike, each picture's difference is
    as likely to have the other sign.
    """

    pairs: int
    mean: Estimate
    p: float


def require() -> None:
    """Raise ``RnriError`` with the command that installs scipy, where it is missing."""
    try:
        import scipy.stats  # noqa: F401
    except ModuleNotFoundError:
        raise RnriError("comparing methods needs scipy", hint="pip install 'rnri[bench]'") from None


def paired(ours: Mapping[Key, float], theirs: Mapping[Key, float]) -> Difference | None:
    """Ours minus theirs, picture by picture; ``None`` without a picture that both have.

    >>> paired({1: 2.0, 2: 3.0}, {1: 1.0, 2: 2.0, 3: 9.0}).mean.value
    1.0
    """
    require()
    from scipy.stats import permutation_test

    differences = [value - theirs[key] for key, value in ours.items() if key in theirs]
    if not differences:
        return None
    mean = Estimate.of(differences, np.mean)
    if len(differences) == 1:  # either sign is as likely
        return Difference(1, mean, 1.0)
    test = permutation_test(
        (np.asarray(differences),),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        n_resamples=_FLIPS,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return Difference(len(differences), mean, float(test.pvalue))


def holm(p: Sequence[float]) -> list[float]:
    """Each of several p-values corrected for there being several (Holm 1979), in the order given.

    The chance that any true hypothesis is rejected stays below the level that the results are held against.

    >>> [round(each, 3) for each in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, least = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, p[index] * (len(p) - rank)))
        corrected[index] = least
    return corrected
