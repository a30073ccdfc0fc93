"""Is one encoder better than another? Paired differences with an interval and a p value.

Three kinds of pairs, three sources of noise: folds (which share training recordings), resamples of the scored patients,
pretraining seeds. All intervals are for 95 %, all tests two-sided. F folds, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from merit import intervals

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A mean difference; None where it, its interval or its p value is not defined."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    """Differences that count: folds, resamples or seeds."""
    n_dropped: int = 0
    """Differences that were left out because one side had no value."""


def corrected_t(differences: Sequence[float | None] | np.ndarray, test_share: float) -> Comparison:
    """The corrected resampled t-test over the folds of one cross-validation (Nadeau and Bengio 2003, Machine Learning
    52:239, Eq. 9): the variance of the mean is s² (1/F + n_test / n_train), with F - 1 degrees of freedom.

    The ordinary s²/F is too small, since the heads of different folds share most of their training recordings.

    differences: [F], NaN or None where a fold lacks one. test_share: n_test / n_train, recordings. One fold has a
    difference alone; equal differences give no interval, since they tell nothing about the variance.
    """
    if not 0 <= test_share < np.inf:
        raise ValueError(f"test_share: expected n_test / n_train, at least 0; got {test_share}")
    return _t(differences, test_share)


def seed_t(differences: Sequence[float | None] | np.ndarray) -> Comparison:
    """The paired t-test over pretraining seeds, which are independent: variance s²/n, n - 1 degrees of freedom.

    differences: [n] of one encoder's score minus the other's at the same seed.
    """
    return _t(differences, 0.0)


def _t(differences: Sequence[float | None] | np.ndarray, extra: float) -> Comparison:
    """Mean and t interval with variance s² (1/n + extra)."""
    given = np.asarray(differences, dtype=np.float64).reshape(-1)
    kept = given[~np.isnan(given)]
    counts = {"n": len(kept), "n_dropped": len(given) - len(kept)}
    if not len(kept):
        return Comparison(mean=None, **counts)
    mean = float(kept.mean())
    if len(kept) == 1:
        return Comparison(mean=mean, **counts)
    spread = float(kept.std(ddof=1))
    if spread < intervals.EQUAL:
        return Comparison(mean=mean, p=1.0 if abs(mean) < intervals.EQUAL else None, **counts)
    error = spread * (1 / len(kept) + extra) ** 0.5
    reach = float(stdtrit(len(kept) - 1, (1 + LEVEL) / 2)) * error
    p = 2 * float(stdtr(len(kept) - 1, -abs(mean) / error))
    return Comparison(mean=mean, low=mean - reach, high=mean + reach, p=p, **counts)


def paired_resamples(
    value_a: float | None,
    resamples_a: Sequence[float | None] | np.ndarray,
    value_b: float | None,
    resamples_b: Sequence[float | None] | np.ndarray,
) -> Comparison:
    """a - b of two scores without training, on the same random halves of the patients (`merit.intervals`).

    resamples_a, resamples_b: [R], the r-th of both from the same patients. Interval and p are normal and from one
    standard error, so that p is below 0.05 exactly where the interval leaves out 0. ValueError where R differs.
    """
    a, b = (np.asarray(resamples, dtype=np.float64).reshape(-1) for resamples in (resamples_a, resamples_b))
    if len(a) != len(b):
        raise ValueError(f"resamples: expected as many of both scores, drawn alike; got {len(a)} and {len(b)}")
    drawn = (a - b)[~np.isnan(a - b)]
    counts = {"n": len(drawn), "n_dropped": len(a) - len(drawn)}
    if value_a is None or value_b is None or np.isnan(value_a) or np.isnan(value_b):
        return Comparison(mean=None, **counts)
    mean = float(value_a - value_b)
    if not len(drawn):
        return Comparison(mean=mean, **counts)
    low, high = intervals.ends(mean, drawn)
    p = intervals.normal_p(mean, intervals.standard_error(mean, drawn))
    return Comparison(mean=mean, low=low, high=high, p=p, **counts)
