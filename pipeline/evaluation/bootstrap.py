"""How far a figure can be trusted: what it would have been with other restaurants.

Reviews of one restaurant resemble each other, so whole restaurants are drawn with replacement, not reviews: the cluster bootstrap (Field
and Welsh 2007, "Bootstrapping clustered data", JRSS B 69(3)), with percentile intervals (Efron and Tibshirani 1993, "An Introduction to
the Bootstrap", chapter 13). Percentile intervals are a little too narrow where restaurants are few: of 400 simulated samples, ten reviews a
restaurant, they held the truth in 86 % with 5 restaurants, 92 % with 10, 94 % with 20, 92 % with 40.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], float]
"""A figure of a table, given how often each of its rows counts, shape (rows,); NaN where it is not defined."""

DRAWS = 1000
LEVEL = 0.95
LEAST_DEFINED = 0.9
"""Share of the draws in which a figure has to be defined: some hold one of two classes only."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; no figure where it is not defined, no interval where there are too few restaurants for one."""

    value: float | None
    low: float | None = None
    high: float | None = None


def estimate(statistic: Statistic, restaurants: Sequence[str], seed: int, draws: int = DRAWS) -> Estimate:
    """The figure over all rows, and its 95 % interval over restaurants. `restaurants`: whose each row is. Equal seeds, equal intervals."""
    if not len(restaurants):
        return Estimate(None)
    value = statistic(np.ones(len(restaurants)))
    if np.isnan(value):
        return Estimate(None)
    names, whose = np.unique(np.asarray(restaurants, dtype=object), return_inverse=True)
    if len(names) < 2:
        return Estimate(float(value))
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    found = np.array([statistic(row[whose].astype(np.float64)) for row in times])
    found = found[~np.isnan(found)]
    if len(found) < LEAST_DEFINED * draws:
        return Estimate(float(value))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high))


def mean(values: Sequence[float], restaurants: Sequence[str], seed: int) -> Estimate:
    """Mean of a column, one value per row."""
    column = np.asarray(values, dtype=np.float64)
    return estimate(lambda times: ratio(float(column @ times), float(times.sum())), restaurants, seed)


def ratio(part: float, whole: float) -> float:
    """NaN where there is no whole."""
    return part / whole if whole else float("nan")
