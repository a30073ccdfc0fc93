"""The 95 % interval around a value, from values of the same statistic on random halves of the patients.

The variance of a statistic over halves drawn without replacement is that over whole samples (σ²/m (1 − m/n) with
m = n/2 is σ²/n), so the root mean square distance r of the halves' values from the value itself is its standard error,
and value ± 1.96 r its interval: it holds its value by construction. A share (AUROC, average precision, F1) has its
interval on the scale of log-odds, where it is symmetric and ends within 0 and 1 (for AUROC: Pepe 2003, section 5.2; for
average precision: Boyd, Eng and Page 2013). Halves of the whole sample: McCarthy 1969; Shao and Wu 1989.

Percentiles of bootstrap resamples are not used around a value: a patient drawn twice gives the same positive twice,
which raises average precision in every resample, so that its interval lay above its own value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit, ndtr, stdtr, stdtrit

LEVEL = 0.05
"""A corrected p value below this is a difference."""
LEVELS = (2.5, 97.5)
"""Percentiles of the ends of the middle 95 %."""
Z = 1.959964
"""Half width of a 95 % interval in standard errors."""
EQUAL = 1e-12
"""Values nearer than this are equal: what is left is rounding."""
EDGE = 3e-5
"""Shares nearer to 0 or 1 than this are moved to it where log-odds are taken of them."""


def standard_error(value: float, drawn: Sequence[float] | np.ndarray) -> float:
    """Root mean square distance of numbers [R] from the value, without those that are NaN; NaN where none is left."""
    away = np.asarray(drawn, dtype=np.float64) - value
    kept = away[~np.isnan(away)]
    return float(np.sqrt(np.mean(kept**2))) if len(kept) else np.nan


def ends(value: float, drawn: Sequence[float] | np.ndarray, share: bool = False) -> tuple[float, float]:
    """Low and high end of the 95 % interval of a value, from its halves' values [R]; NaN where either is missing.

    share: the value lies from 0 to 1. Of a difference on the same halves, `drawn` is the difference half by half: its
    interval is paired.
    """
    value = float(value)
    if not share:
        reach = Z * standard_error(value, drawn)
        return value - reach, value + reach
    odds = logit(np.clip(value, EDGE, 1 - EDGE))
    reach = Z * standard_error(odds, logit(np.clip(np.asarray(drawn, dtype=np.float64), EDGE, 1 - EDGE)))
    if np.isnan(reach):
        return np.nan, np.nan
    low, high = (float(end) for end in expit([odds - reach, odds + reach]))
    return min(low, value), max(high, value)


def normal_p(value: float, error: float) -> float:
    """Two-sided p of a value with a standard error: below 0.05 where `ends` leave out 0; of no error, 1 for 0 alone."""
    if error < EQUAL:
        return float(abs(value) < EQUAL)
    return 2 * float(ndtr(-abs(value) / error))


def middle(drawn: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Ends of the middle 95 % of numbers [R], without those that are NaN; NaN and NaN where none is left.

    How far independent runs or batches spread; not the interval of a value (`ends`).
    """
    drawn = np.asarray(drawn)
    kept = drawn[~np.isnan(drawn)]
    low, high = np.percentile(kept, LEVELS) if len(kept) else (np.nan, np.nan)
    return float(low), float(high)


def named(value: float, low: float, high: float) -> dict[str, float | None]:
    """value, low and high by these names, as JSON can hold them: None for NaN."""
    given = (("value", value), ("low", low), ("high", high))
    return {name: None if np.isnan(one) else float(one) for name, one in given}


def around(value: float, drawn: Sequence[float] | np.ndarray, share: bool = False) -> dict[str, float | None]:
    """A value with its `ends`: value, low and high; None for NaN."""
    return named(value, *ends(value, drawn, share))


def paired(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """First minus second with its ends, half by half; both hold `value` and `draws` [R], None for what is no number.

    None where either has no value, where they were drawn another number of times, or where fewer than two draws of both
    are numbers.
    """
    drawn = [np.array(one.get("draws") or [], np.float64) for one in (first, second)]
    if first["value"] is None or second["value"] is None or len(drawn[0]) != len(drawn[1]):
        return None
    difference, value = drawn[0] - drawn[1], first["value"] - second["value"]
    if np.isfinite(difference).sum() < 2:
        return None
    return (value, *ends(value, difference))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm 1979), in the same order; None stays and does not count."""
    order = sorted((k for k, value in enumerate(p) if value is not None), key=lambda k: p[k])
    corrected, highest = list(p), 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[k]))
        corrected[k] = highest
    return corrected


def told_apart(differences: Sequence[Mapping[str, Any]], digits: int = 1, unit: float = 100) -> list[int]:
    """The one rule for "this difference is more than chance": for each of a page's differences 1 or −1, the side of 0
    on which it lies, or 0 where chance may be all.

    A difference counts whose p, corrected for all of them (Holm), is below 0.05 as it is printed, with three decimals,
    and whose interval leaves out 0 as it is printed, in so many units with so many decimals. Each holds low and high,
    None where it has no interval, and its `p_holm` where a family was corrected before, or its `p`; where it has
    neither, p follows from its interval, which is normal (`ends`).
    """
    corrected = [one.get("p_holm") for one in differences]
    if corrected.count(None) == len(corrected):
        corrected = holm([_p(one) for one in differences])
    clear = [p is not None and round(p, 3) < LEVEL for p in corrected]
    return [side_of_zero(one, digits, unit) if yes else 0 for one, yes in zip(differences, clear)]


def side_of_zero(interval: Mapping[str, Any], digits: int = 1, unit: float = 100) -> int:
    """1 or −1 where both ends, as they are printed, lie above or below 0; else, or without an interval, 0."""
    if interval["low"] is None or interval["high"] is None:
        return 0
    low, high = (float(f"{unit * interval[end]:.{digits}f}") for end in ("low", "high"))
    return 1 if low > 0 else -1 if high < 0 else 0


def _p(difference: Mapping[str, Any]) -> float | None:
    if "p" in difference or difference["low"] is None or difference["high"] is None:
        return difference.get("p")
    low, high = difference["low"], difference["high"]
    return normal_p((low + high) / 2, (high - low) / (2 * Z))


# -- paired differences: folds (which share training recordings), pretraining seeds, halves of the scored patients -----


def corrected_t(differences: Sequence[float | None] | np.ndarray, test_share: float) -> dict[str, Any]:
    """The corrected resampled t-test over the folds of one cross-validation (Nadeau and Bengio 2003, Machine Learning
    52:239, Eq. 9): the variance of the mean is s² (1/F + n_test / n_train), with F - 1 degrees of freedom.

    The ordinary s²/F is too small, since the heads of different folds share most of their training recordings.

    differences: [F], NaN or None where a fold lacks one. test_share: n_test / n_train, recordings. Gives value (the
    mean), low, high, p (two-sided), n and n_dropped; None where it is not defined: one fold has a difference alone;
    equal differences give no interval, since they tell nothing about the variance.
    """
    if not 0 <= test_share < np.inf:
        raise ValueError(f"test_share: expected n_test / n_train, at least 0; got {test_share}")
    given = np.asarray(differences, dtype=np.float64).reshape(-1)
    kept = given[~np.isnan(given)]
    found = {"value": None, "low": None, "high": None, "p": None, "n": len(kept), "n_dropped": len(given) - len(kept)}
    if not len(kept):
        return found
    mean = found["value"] = float(kept.mean())
    if len(kept) == 1:
        return found
    spread = float(kept.std(ddof=1))
    if spread < EQUAL:
        return {**found, "p": 1.0 if abs(mean) < EQUAL else None}
    error = spread * (1 / len(kept) + test_share) ** 0.5
    reach = float(stdtrit(len(kept) - 1, 1 - LEVEL / 2)) * error
    p = 2 * float(stdtr(len(kept) - 1, -abs(mean) / error))
    return {**found, "low": mean - reach, "high": mean + reach, "p": p}


def seed_t(differences: Sequence[float | None] | np.ndarray) -> dict[str, Any]:
    """The paired t-test over pretraining seeds, which are independent: variance s²/n, n - 1 degrees of freedom.

    differences: [n] of one encoder's score minus the other's at the same seed. Gives what `corrected_t` gives.
    """
    return corrected_t(differences, 0.0)


def paired_resamples(
    value_a: float | None,
    resamples_a: Sequence[float | None] | np.ndarray,
    value_b: float | None,
    resamples_b: Sequence[float | None] | np.ndarray,
) -> dict[str, Any]:
    """a - b of two scores without training, on the same random halves of the patients; what `corrected_t` gives.

    resamples_a, resamples_b: [R], the r-th of both from the same patients. Interval and p are normal and from one
    standard error, so that p is below 0.05 exactly where the interval leaves out 0. ValueError where R differs.
    """
    a, b = (np.asarray(resamples, dtype=np.float64).reshape(-1) for resamples in (resamples_a, resamples_b))
    if len(a) != len(b):
        raise ValueError(f"resamples: expected as many of both scores, drawn alike; got {len(a)} and {len(b)}")
    drawn = (a - b)[~np.isnan(a - b)]
    found = {"value": None, "low": None, "high": None, "p": None, "n": len(drawn), "n_dropped": len(a) - len(drawn)}
    if value_a is None or value_b is None or np.isnan(value_a) or np.isnan(value_b):
        return found
    mean = found["value"] = float(value_a - value_b)
    if len(drawn):
        low, high = ends(mean, drawn)
        found |= {"low": low, "high": high, "p": normal_p(mean, standard_error(mean, drawn))}
    return found
