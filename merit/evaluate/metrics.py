"""AUROC, average precision, F1 and accuracy of many classes at once; each class is sorted once.

N records, C classes. Every function takes labels bool [N, C] and scores [N, C] and returns one value a class; the
mean over classes is `macro`. A class that lacks positives or negatives has no AUROC: its value is NaN, never 0.5.

Two rules lead from scores to yes or no, and the names of the metrics tell them apart. `f1_oracle`, `accuracy_oracle`:
the literature's. For each class the threshold t with the best F1 is looked for on the very records that are scored. The
published code takes the F1 that is reached with "score >= t", but counts accuracy with "score > t": two different
classifiers, and the record at t is lost to the second. Kept as published, so that numbers can be set against the
paper's. It is optimistic: it has seen the answers. `f1`, `accuracy`: the honest rule. The threshold is chosen in the
same way on the validation fold, and both are counted on the test fold with "score >= t".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Ranking(NamedTuple):
    """Records by falling score, class by class, with what a threshold at each of them would give."""

    scores: np.ndarray
    """[C, N], falling."""
    true_positives: np.ndarray
    """int64 [C, N]: positives among this record and those before it."""
    false_positives: np.ndarray
    """int64 [C, N]: negatives among this record and those before it."""
    last_of_tie: np.ndarray
    """bool [C, N]: whether the next score is lower. A threshold can only lie at such a place."""


def rank(labels: np.ndarray, scores: np.ndarray) -> Ranking:
    """Sort each class once. Raises ValueError for shapes that differ and for NaN scores."""
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores)
    if labels.ndim != 2 or labels.shape != scores.shape:
        raise ValueError(f"labels and scores must both be [records, classes], got {labels.shape} and {scores.shape}")
    places = np.argwhere(np.isnan(scores))
    if len(places):
        raise ValueError(
            f"{len(places)} of {scores.size} scores are NaN, first in record {places[0, 0]}, class {places[0, 1]}: "
            "look at what made them; no metric is defined on NaN"
        )
    order = np.argsort(-scores.T, axis=1, kind="stable")
    falling = np.take_along_axis(scores.T, order, axis=1)
    true_positives = np.cumsum(np.take_along_axis(labels.T, order, axis=1), axis=1, dtype=np.int64)
    last_of_tie = np.ones(falling.shape, dtype=bool)
    last_of_tie[:, :-1] = falling[:, :-1] != falling[:, 1:]
    return Ranking(falling, true_positives, np.arange(1, len(labels) + 1) - true_positives, last_of_tie)


def _before_tie(counts: np.ndarray, last_of_tie: np.ndarray) -> np.ndarray:
    """[C, N] counts at the end of the tie before each record's own (0 for the first)."""
    at_ends = np.maximum.accumulate(np.where(last_of_tie, counts, 0), axis=1)
    return np.concatenate([np.zeros((len(counts), 1), dtype=counts.dtype), at_ends[:, :-1]], axis=1)


def auroc(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Probability that a positive scores above a negative, ties counting half; float64 [C].

    Counted in integers, so the result does not depend on the order of the records.
    """
    ranking = rank(labels, scores)
    tp, fp, ends = ranking.true_positives, ranking.false_positives, ranking.last_of_tie
    twice_area = (fp - _before_tie(fp, ends)) * (tp + _before_tie(tp, ends))
    pairs = tp[:, -1] * fp[:, -1]
    return _ratio(np.where(ends, twice_area, 0).sum(axis=1), 2 * pairs)


def average_precision(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Sum over thresholds of precision times the gain in recall (no interpolation); float64 [C].

    The definition of scikit-learn's `average_precision_score`. NaN for a class without positives.
    """
    ranking = rank(labels, scores)
    tp, ends = ranking.true_positives, ranking.last_of_tie
    gain = (tp - _before_tie(tp, ends)) * (tp / np.arange(1, tp.shape[1] + 1))
    return _ratio(np.where(ends, gain, 0).sum(axis=1), tp[:, -1])


def f1(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of yes-or-no predictions bool [N, C]; float64 [C], NaN without any positive at all."""
    labels, predicted = np.asarray(labels, dtype=bool), np.asarray(predicted, dtype=bool)
    return _ratio(2 * (labels & predicted).sum(axis=0), labels.sum(axis=0) + predicted.sum(axis=0))


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Share of records that are predicted rightly, class by class; float64 [C]."""
    return (np.asarray(labels, dtype=bool) == np.asarray(predicted, dtype=bool)).mean(axis=0)


def macro(values: np.ndarray, scored: np.ndarray) -> float:
    """Unweighted mean over the classes with `scored` True; NaN when there is none."""
    return float(np.mean(values[scored])) if np.any(scored) else float("nan")


def number(value: float) -> float | None:
    """A float that JSON can hold; None for NaN."""
    return None if np.isnan(value) else float(value)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator in float64, NaN where the denominator is 0."""
    out = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


# -- from scores to yes or no -----------------------------------------------------------------------------------------


def best_f1(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best F1 of each class over all thresholds, and the lowest score that reaches it with >=; both float64 [C].

    Without positives there is nothing to choose: F1 is NaN and the threshold infinite, so that nothing is predicted.
    """
    ranking = rank(labels, scores)
    tp, fp = ranking.true_positives, ranking.false_positives
    n_positive = tp[:, -1:]
    # Precision and recall first and F1 from them, though 2 TP / (2 TP + FP + FN) is shorter: equal F1 values then
    # round as in the published code, and the same one of two tied thresholds is found.
    precision, recall = tp / (tp + fp), tp / np.maximum(n_positive, 1)
    total = precision + recall
    values = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total != 0)
    values[~ranking.last_of_tie] = -1.0
    best = values.shape[1] - 1 - np.argmax(values[:, ::-1], axis=1)
    classes = np.arange(len(best))
    none = n_positive[:, 0] == 0
    return (
        np.where(none, np.nan, values[classes, best]),
        np.where(none, np.inf, ranking.scores[classes, best].astype(np.float64)),
    )


def oracle(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(f1_oracle, accuracy_oracle) of each class, float64 [C], the threshold chosen on the scored records."""
    value, threshold = best_f1(labels, scores)
    return value, accuracy(labels, scores > threshold)
