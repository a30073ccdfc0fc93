"""Pooled out-of-fold values with a 95 % interval from random halves of the patients, all resamples at once.

A resample is a random half of the patients, drawn without replacement (`merit.intervals` says why): each patient has
the weight 0 or 1. A metric under a resample is the weighted metric, and records need sorting by score only once per
class. Between two scores that a positive holds, only the sum of weights matters, so each class shrinks to as many rows
as it has distinct positive scores before it meets the resamples.

Pooled are logits of different heads, one a fold, as they stand: a shift between heads costs, and should. A class enters
with the records of the folds that score it. N records, C classes, P groups of patients, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from merit import intervals
from merit.config import ProbeConfig

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
        return intervals.named(*self.macro[metric])


def paired(first: Pooled, second: Pooled, metric: str = "auroc") -> dict[str, float | None]:
    """value, low and high of first minus second, means over classes of the same patients, drawn alike for both."""
    value = first.macro[metric][0] - second.macro[metric][0]
    return intervals.around(value, first.resamples[metric] - second.resamples[metric])


def pool(
    labels: np.ndarray,
    logits: np.ndarray,
    predicted: np.ndarray,
    scored: np.ndarray,
    groups: np.ndarray,
    *,
    n_resamples: int,
    seed: int,
) -> Pooled:
    """Pooled values and patient-clustered intervals.

    labels, predicted, scored: bool [N, C], the last True where the record's fold scores the class; logits [N, C];
    groups [N]: what is drawn together. The mean over classes under a resample is the mean of all classes' values plus
    the mean of how far the classes move: one that the resample leaves without positives or negatives has no part in the
    second, and would change what the mean is about if it were left out of the first.
    """
    _, group = np.unique(groups, return_inverse=True)
    n_groups = int(group.max()) + 1
    classes = [_Class.of(*columns, group, n_groups) for columns in zip(labels.T, logits.T, scored.T)]
    counts = _Counts.of(labels, predicted, scored, group, n_groups)
    blocks = [
        np.stack([*_rank_metrics(classes, weights), *counts.f1_and_accuracy(weights)])
        for weights in _weights(n_groups, n_resamples, seed)
    ]
    values = np.concatenate(blocks, axis=2)  # [metric, C, 1 + R]; the first column has every patient once
    means = mean_over_classes(values)
    macro = {name: (float(row[0]), *intervals.ends(row[0], row[1:], share=True)) for name, row in zip(METRICS, means)}
    return Pooled(dict(zip(METRICS, values[:, :, 0])), macro, dict(zip(METRICS, means[:, 1:])))


def pool_ranks(
    labels: np.ndarray, scores: np.ndarray, scored: np.ndarray, groups: np.ndarray, config: ProbeConfig
) -> Pooled:
    """`pool` for what reads AUROC or average precision: no class is predicted. scored: bool [N, C], or [C] for all."""
    everywhere = np.broadcast_to(scored, labels.shape)
    return pool(
        labels, scores, np.zeros_like(labels), everywhere, groups, n_resamples=config.n_resamples, seed=config.seed
    )


def weights_of(groups: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """float32 [N, 1 + R]: 1 for the records in each random half of the groups [N], else 0; the first column all ones.
    The same draws as `pool` makes; for what needs no sorting, since it takes N (1 + R) numbers.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    return np.concatenate(list(_weights(int(group.max()) + 1, n_resamples, seed)), axis=1)[group]


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """[..., C, 1 + R] to [..., 1 + R]: first the mean of the classes with a value, then that plus the mean of how far
    the classes move from their own first value, over those that a resample defines; NaN where there is none.
    """
    first = values[..., :1]
    return _mean_of_defined(first) + _mean_of_defined(values - first)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(values)
    total, n = np.where(defined, values, 0.0).sum(axis=-2), defined.sum(axis=-2)
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


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


@dataclass(frozen=True)
class _Class:
    """One class, its records sorted by falling score and summed by group between the scores of positives.

    With G distinct scores that positives hold: row 2g + 1 of `weight_of` is the tie at the g-th of them, the even rows
    are the negatives between.
    """

    weight_of: sparse.csr_array
    """[2 G + 1, P]: records of each group in each stretch."""
    positive_of: sparse.csr_array
    """[G, P]: positives of each group at each of the G scores."""

    @classmethod
    def of(
        cls, label: np.ndarray, logit: np.ndarray, scored: np.ndarray, group: np.ndarray, n_groups: int
    ) -> _Class | None:
        """None for a class that no fold scores."""
        if not scored.any():
            return None
        rows = np.flatnonzero(scored)
        rows = rows[np.argsort(-logit[rows], kind="stable")]
        label, logit, group = label[rows], logit[rows], group[rows]
        starts = np.flatnonzero(np.concatenate([[True], logit[1:] != logit[:-1]]))
        has_positive = np.logical_or.reduceat(label, starts)
        passed = np.cumsum(has_positive) - has_positive
        tie = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
        n = int(has_positive.sum())
        return cls(
            _sums((2 * passed + has_positive)[tie], group, (2 * n + 1, n_groups)),
            _sums(passed[tie][label], group[label], (n, n_groups)),
        )

    def auroc_and_precision(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted AUROC and average precision under each column of weights [P, R]; two float64 [R]."""
        stretches = (self.weight_of @ weights).astype(np.float64)
        positive = (self.positive_of @ weights).astype(np.float64)
        until = np.cumsum(stretches, axis=0)
        above, every = until[1::2], until[-1]
        hit = np.cumsum(positive, axis=0)
        n_positive = hit[-1]
        n_negative = every - n_positive
        ties = stretches[1::2] - positive
        below = n_negative - (above - hit) + 0.5 * ties
        pairs = n_positive * n_negative
        nan = np.full(pairs.shape, np.nan)
        auroc = np.divide((positive * below).sum(axis=0), pairs, out=nan.copy(), where=pairs > 0)
        precision = np.divide(hit, above, out=np.zeros_like(hit), where=above > 0)
        return auroc, np.divide((positive * precision).sum(axis=0), n_positive, out=nan, where=pairs > 0)


def _sums(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """float32 counts of (row, column) pairs."""
    return sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)


def _rank_metrics(classes: list[_Class | None], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision of every class, two float64 [C, R]."""
    nothing = np.full((2, weights.shape[1]), np.nan)
    both = np.stack([nothing if c is None else np.stack(c.auroc_and_precision(weights)) for c in classes])
    return both[:, 0], both[:, 1]


@dataclass(frozen=True)
class _Counts:
    """Records, positives, predicted and hits of each group, each float32 [C, P]."""

    n: np.ndarray
    positive: np.ndarray
    predicted: np.ndarray
    hit: np.ndarray

    @classmethod
    def of(
        cls, labels: np.ndarray, predicted: np.ndarray, scored: np.ndarray, group: np.ndarray, n_groups: int
    ) -> _Counts:
        membership = _sums(group, np.arange(len(group)), (n_groups, len(group)))
        parts = (scored, labels & scored, predicted & scored, labels & predicted & scored)
        return cls(*(np.ascontiguousarray((membership @ part.astype(np.float32)).T) for part in parts))

    def f1_and_accuracy(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both [C, R] under weights [P, R]; NaN where a resample holds no positive or no negative of a class."""
        n, positive, predicted, hit = (
            (part @ weights).astype(np.float64) for part in (self.n, self.positive, self.predicted, self.hit)
        )
        defined = (positive > 0) & (positive < n)
        nan = np.full(n.shape, np.nan)
        f1 = np.divide(2 * hit, positive + predicted, out=nan.copy(), where=defined)
        return f1, np.divide(n - positive - predicted + 2 * hit, n, out=nan, where=defined)
