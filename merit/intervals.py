"""The 95 % interval of a value, from values of the same statistic on random halves of the patients; paired differences.

The variance of a statistic over halves drawn without replacement is that over whole samples (σ²/m (1 − m/n) with
m = n/2 is σ²/n), so the root mean square distance r of the halves' values from the value itself is its standard error,
and value ± 1.96 r its interval: it holds its value by construction. A share (AUROC, average precision, F1) has its
interval on the scale of log-odds, where it is symmetric and ends within 0 and 1 (for AUROC: Pepe 2003, section 5.2; for
average precision: Boyd, Eng and Page 2013). Halves of the whole sample: McCarthy 1969; Shao and Wu 1989.

Percentiles of bootstrap resamples are not used around a value: a patient drawn twice gives the same positive twice,
which raises average precision in every resample, so that its interval lay above its own value.

N records, C classes, P groups of patients, R resamples (random halves of the groups).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, logit, ndtr, stdtr, stdtrit

LEVEL = 0.05
"""A corrected p value below this is a difference."""
Z = 1.959964
"""Half width of a 95 % interval in standard errors."""
EQUAL = 1e-12
"""Values nearer than this are equal: what is left is rounding."""
EDGE = 3e-5
"""Shares nearer to 0 or 1 than this are moved to it where log-odds are taken of them."""


# -- one value and its draws ------------------------------------------------------------------------------------------


def standard_error(value: float, drawn: Sequence[float] | np.ndarray) -> float:
    """Root mean square distance of numbers [R] from the value, without those that are NaN; NaN where none is left."""
    away = np.asarray(drawn, dtype=np.float64) - value
    away = away[~np.isnan(away)]
    return float(np.sqrt(np.mean(away**2))) if len(away) else np.nan


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


def middle(drawn: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Ends of the middle 95 % of numbers [R], without those that are NaN; NaN and NaN where none is left.

    How far independent runs or batches spread; not the interval of a value (`ends`).
    """
    drawn = np.asarray(drawn)
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (np.nan, np.nan)
    return float(low), float(high)


def named(value: float, low: float, high: float) -> dict[str, float | None]:
    """value, low and high by these names, as JSON can hold them: None for NaN."""
    row = {"value": value, "low": low, "high": high}
    return {name: None if np.isnan(number) else float(number) for name, number in row.items()}


def around(value: float, drawn: Sequence[float] | np.ndarray, share: bool = False) -> dict[str, float | None]:
    """A value with its `ends`: value, low and high; None for NaN."""
    return named(value, *ends(value, drawn, share))


# -- random halves of the patients, all at once -----------------------------------------------------------------------
#
# Each patient has the weight 0 or 1. A metric under a resample is the weighted metric, and records need sorting by
# score only once per class. Between two scores that a positive holds, only the sum of weights matters, so each class
# shrinks to as many rows as it has distinct positive scores before it meets the resamples.

METRICS = ("auroc", "average_precision", "f1", "accuracy")
BLOCK = 128
"""Resamples handled together, for memory: the result does not depend on it."""


@dataclass(frozen=True)
class Pooled:
    """Values over all out-of-fold records."""

    per_class: dict[str, np.ndarray]
    """Metric -> float64 [C], NaN for a class that no fold scores."""
    macro: dict[str, tuple[float, float, float]]
    """Metric -> (value, low, high) of the mean over classes."""
    resamples: dict[str, np.ndarray]
    """Metric -> float64 [R], the mean over classes under each resample, as `pool` says. Two calls with the same groups,
    number and seed draw the same patients, so the difference of their resamples is paired."""

    def triple(self, metric: str = "auroc") -> dict[str, float | None]:
        """value, low and high of the mean over classes; None for NaN."""
        return named(*self.macro[metric])

    def minus(self, other: Pooled, metric: str = "auroc") -> dict[str, float | None]:
        """value, low and high of this less the other, means over classes of the same patients, drawn alike."""
        value = self.macro[metric][0] - other.macro[metric][0]
        return around(value, self.resamples[metric] - other.resamples[metric])


def pool(
    labels: np.ndarray,
    logits: np.ndarray,
    scored: np.ndarray,
    groups: np.ndarray,
    *,
    n_resamples: int,
    seed: int,
    predicted: np.ndarray | None = None,
) -> Pooled:
    """Pooled values and patient-clustered intervals.

    labels, predicted: bool [N, C]; logits [N, C], of different heads, one a fold, as they stand: a shift between heads
    costs, and should. scored: bool [N, C], True where the record's fold scores the class, or [C] for all records;
    groups [N]: what is drawn together. Without `predicted`, F1 and accuracy are NaN. The mean over classes under a
    resample is the mean of all classes' values plus the mean of how far the classes move: one that the resample leaves
    without positives or negatives has no part in the second, and would change what the mean is about if it were left
    out of the first.
    """
    _, group = np.unique(groups, return_inverse=True)
    n_groups = int(group.max()) + 1
    scored = np.broadcast_to(scored, labels.shape)

    def sums(rows: np.ndarray, columns: np.ndarray, n_rows: int) -> sparse.csr_array:
        """float32 [n_rows, P]: how often each row meets each group."""
        return sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(n_rows, n_groups))

    # Each class by falling score. With G distinct scores that positives hold: row 2 g + 1 of `stretch` [2 G + 1, P]
    # counts the records tied at the g-th of them, even rows the negatives between; `positive` [G, P] its positives.
    ranked: dict[int, tuple[sparse.csr_array, sparse.csr_array]] = {}
    for c in np.flatnonzero(scored.any(axis=0)):
        rows = np.flatnonzero(scored[:, c])
        rows = rows[np.argsort(-logits[rows, c], kind="stable")]
        label, score, owner = labels[rows, c], logits[rows, c], group[rows]
        starts = np.flatnonzero(np.concatenate([[True], score[1:] != score[:-1]]))
        has_positive = np.logical_or.reduceat(label, starts)
        passed = np.cumsum(has_positive) - has_positive
        tie = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
        n = int(has_positive.sum())
        stretch = sums((2 * passed + has_positive)[tie], owner, 2 * n + 1)
        ranked[c] = stretch, sums(passed[tie][label], owner[label], n)
    counts: list[np.ndarray] = []  # records, positives, predicted and hits of each group, float32 [C, P]
    if predicted is not None:
        membership = sums(np.arange(len(group)), group, len(group)).T.tocsr()
        parts = (scored, labels & scored, predicted & scored, labels & predicted & scored)
        counts = [np.ascontiguousarray((membership @ part.astype(np.float32)).T) for part in parts]

    values = np.full((len(METRICS), labels.shape[1], 1 + n_resamples), np.nan)  # the first column: every patient once
    first = 0
    for weights in _weights(n_groups, n_resamples, seed):
        at = slice(first, first + weights.shape[1])
        first = at.stop
        for c, (stretch, positive) in ranked.items():
            between, hit_here = ((matrix @ weights).astype(np.float64) for matrix in (stretch, positive))
            until = np.cumsum(between, axis=0)
            above, every, hit = until[1::2], until[-1], np.cumsum(hit_here, axis=0)
            n_positive = hit[-1]
            n_negative = every - n_positive
            below = n_negative - (above - hit) + 0.5 * (between[1::2] - hit_here)  # a tie counts half
            pairs = n_positive * n_negative
            np.divide((hit_here * below).sum(axis=0), pairs, out=values[0, c, at], where=pairs > 0)
            precision = np.divide(hit, above, out=np.zeros_like(hit), where=above > 0)
            np.divide((hit_here * precision).sum(axis=0), n_positive, out=values[1, c, at], where=pairs > 0)
        if counts:
            n, positive, called, hit = ((part @ weights).astype(np.float64) for part in counts)
            both = (positive > 0) & (positive < n)
            np.divide(2 * hit, positive + called, out=values[2, :, at], where=both)
            np.divide(n - positive - called + 2 * hit, n, out=values[3, :, at], where=both)
    means = mean_over_classes(values)
    macro = {name: (float(row[0]), *ends(row[0], row[1:], share=True)) for name, row in zip(METRICS, means)}
    return Pooled(dict(zip(METRICS, values[:, :, 0])), macro, dict(zip(METRICS, means[:, 1:])))


def weights_of(groups: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """float32 [N, 1 + R]: 1 for the records in each random half of the groups [N], else 0; the first column all ones.
    The same draws as `pool` makes; for what needs no sorting, since it takes N (1 + R) numbers.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    return np.concatenate(list(_weights(int(group.max()) + 1, n_resamples, seed)), axis=1)[group]


def _weights(n_groups: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks float32 [P, <= BLOCK]: 1 for the groups in a random half, else 0; the very first column is all ones.

    Of an odd number the smaller half is drawn, which makes intervals wider by 1 / (2 P). One group is always drawn.
    """
    generator = np.random.default_rng(seed)
    half = max(1, n_groups // 2)
    for start in range(0, n_resamples + 1, BLOCK):
        columns = range(start, min(start + BLOCK, n_resamples + 1))
        block = np.zeros((n_groups, len(columns)), dtype=np.float32)
        for j, column in enumerate(columns):
            block[generator.permutation(n_groups)[:half] if column else slice(None), j] = 1
        yield block


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """[..., C, 1 + R] to [..., 1 + R]: first the mean of the classes with a value, then that plus the mean of how far
    the classes move from their own first value, over those that a resample defines; NaN where there is none.
    """
    means = []
    for part in (values[..., :1], values - values[..., :1]):
        defined = ~np.isnan(part)
        total, n = np.where(defined, part, 0.0).sum(axis=-2), defined.sum(axis=-2)
        means.append(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))
    return means[0] + means[1]


# -- paired differences: folds (which share training recordings), pretraining seeds, halves of the scored patients -----


def corrected_t(differences: Sequence[float | None] | np.ndarray, test_share: float) -> dict[str, Any]:
    """The corrected resampled t-test over the folds of one cross-validation (Nadeau and Bengio 2003, Machine Learning
    52:239, Eq. 9): the variance of the mean is s² (1/F + n_test / n_train), with F - 1 degrees of freedom.

    The ordinary s²/F is too small, since the heads of different folds share most of their training recordings.

    differences: [F], NaN or None where a fold lacks one. test_share: n_test / n_train, recordings; 0 for differences
    that are independent, as those of pretraining seeds. Gives value (the mean), low, high, p (two-sided), n and
    n_dropped; None where it is not defined: one fold has a difference alone; equal differences give no interval, since
    they tell nothing about the variance.
    """
    if not 0 <= test_share < np.inf:
        raise ValueError(f"test_share: expected n_test / n_train, at least 0; got {test_share}")
    given = np.asarray(differences, dtype=np.float64).reshape(-1)
    known = given[~np.isnan(given)]
    row = {"value": None, "low": None, "high": None, "p": None, "n": len(known), "n_dropped": len(given) - len(known)}
    if not len(known):
        return row
    mean = row["value"] = float(known.mean())
    if len(known) == 1:
        return row
    spread = float(known.std(ddof=1))
    if spread < EQUAL:
        return {**row, "p": 1.0 if abs(mean) < EQUAL else None}
    error = spread * (1 / len(known) + test_share) ** 0.5
    reach = float(stdtrit(len(known) - 1, 1 - LEVEL / 2)) * error
    p = 2 * float(stdtr(len(known) - 1, -abs(mean) / error))
    return {**row, "low": mean - reach, "high": mean + reach, "p": p}


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
    row = {"value": None, "low": None, "high": None, "p": None, "n": len(drawn), "n_dropped": len(a) - len(drawn)}
    if value_a is None or value_b is None or np.isnan(value_a) or np.isnan(value_b):
        return row
    mean = row["value"] = float(value_a - value_b)
    if len(drawn):
        low, high = ends(mean, drawn)
        row |= {"low": low, "high": high, "p": normal_p(mean, standard_error(mean, drawn))}
    return row


def over_rotations(values: Sequence[float], errors: Sequence[float]) -> dict[str, Any]:
    """The mean over the rotations of cross-fitted pretraining: value, low, high, p, sd (of one rotation), n.

    values, errors: [R], a score, or a difference, of each rotation, and its standard error over patients. Rotations
    score other patients, so their errors are independent: the mean's variance is that of the patients, sum(errors²) /
    R², or what the values' own spread says where that is more, s² / R, since pretrainings differ too. s² has R - 1
    degrees of freedom, so the interval is Student's with (R - 1) (variance / (s² / R))² (Satterthwaite, 1946), R - 1 to
    very many. Pretrainings of two rotations share six of eight folds, so that their part is too small if anything.
    """
    values, squares = np.asarray(values, dtype=np.float64), np.square(np.asarray(errors, dtype=np.float64))
    n, mean = len(values), float(np.mean(values))
    row = {"value": mean, "low": None, "high": None, "p": None, "sd": None, "n": n}
    if n < 2 or np.isnan(squares).any():
        return row
    row["sd"] = float(values.std(ddof=1))
    of_mean = row["sd"] ** 2 / n
    error = max(float(squares.sum()) / n**2, of_mean) ** 0.5
    if error < EQUAL:
        return row
    freedom = (n - 1) * min(error**2 / max(of_mean, EQUAL**2), 1e4) ** 2
    reach = float(stdtrit(freedom, 1 - LEVEL / 2)) * error
    return {**row, "low": mean - reach, "high": mean + reach, "p": 2 * float(stdtr(freedom, -abs(mean) / error))}


def normal_p(value: float, error: float) -> float:
    """Two-sided p of a value with a standard error: below 0.05 where `ends` leave out 0; of no error, 1 for 0 alone."""
    if error < EQUAL:
        return float(abs(value) < EQUAL)
    return 2 * float(ndtr(-abs(value) / error))
