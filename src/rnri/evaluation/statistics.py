"""What measurements of some pictures say of all: means with intervals, and whether two methods differ."""

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
    """A statistic of some pictures, and its 95 % interval by resampling them."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float], statistic: Callable[..., Any] = np.median) -> Estimate:
        """Estimate a statistic, such as ``numpy.median`` or ``numpy.mean``; of no values it is not a number.

        >>> Estimate.of([1.0, 2.0, 3.0, 2.0])
        Estimate(value=2.0, low=1.0, high=3.0)
        """
        if not values:
            return cls(math.nan, math.nan, math.nan)
        every = np.asarray(values, dtype=float)
        draws = np.random.default_rng(0).integers(len(every), size=(RESAMPLES, len(every)))
        return cls(float(statistic(every)), *_middle(statistic(every[draws], axis=1)))

    @classmethod
    def ratio(
        cls, ours: Mapping[Key, float], theirs: Mapping[Key, float], statistic: Callable[..., Any] = np.median
    ) -> Estimate:
        """A statistic of ours over that of theirs, of the pictures that both have, always the same ones in both.

        >>> Estimate.ratio({1: 1.0, 2: 3.0, 3: 9.0}, {1: 2.0, 2: 6.0})
        Estimate(value=0.5, low=0.5, high=0.5)
        """
        pairs = np.asarray([(value, theirs[key]) for key, value in ours.items() if key in theirs], dtype=float)
        if not len(pairs):
            return cls(math.nan, math.nan, math.nan)
        draws = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
        with np.errstate(invalid="ignore", divide="ignore"):  # infinitely bad ones
            over, under = statistic(pairs[draws], axis=1).T
            whole = np.divide(*statistic(pairs, axis=0))
            return cls(float(whole), *_middle(over / under))

    def __str__(self) -> str:
        return "–" if math.isnan(self.value) else f"{digits(self.value)} ({digits(self.low)} to {digits(self.high)})"


def _middle(resampled: Any) -> tuple[float, float]:
    """Where 95 % of the values lie, which may be infinite."""
    low, high = np.sort(resampled)[[round(RESAMPLES * 0.025), round(RESAMPLES * 0.975) - 1]]
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """The mean difference of two methods over the pictures that both have, and how likely it is by chance alone.

    ``p`` is two-sided, from flipping the signs of the differences: under the hypothesis that the two are alike each
    picture's difference is as likely to have the other sign.
    """

    pairs: int
    mean: Estimate
    p: float


def require() -> None:
    """Raise ``ValueError`` with the command that installs what paired tests need, if it is not there."""
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

    The chance that any of the true hypotheses is rejected stays below the level that the results are held against.

    >>> [round(each, 3) for each in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=p.__getitem__)
    corrected, least = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, p[index] * (len(p) - rank)))
        corrected[index] = least
    return corrected
