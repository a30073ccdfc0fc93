"""AUROC, average precision, F1 and accuracy of many classes at once; each class is sorted once.

N records, C classes. Every function takes labels bool [N, C] and scores [N, C] and returns one value a class; the
mean over classes is `macro`. A class that lacks positives or negatives has no AUROC: its value is NaN, never 0.5.
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
    refuse_nan(scores)
    order = np.argsort(-scores.T, axis=1, kind="stable")
    falling = np.take_along_axis(scores.T, order, axis=1)
    true_positives = np.cumsum(np.take_along_axis(labels.T, order, axis=1), axis=1, dtype=np.int64)
    last_of_tie = np.ones(falling.shape, dtype=bool)
    last_of_tie[:, :-1] = falling[:, :-1] != falling[:, 1:]
    return Ranking(falling, true_positives, np.arange(1, len(labels) + 1) - true_positives, last_of_tie)


def refuse_nan(scores: np.ndarray) -> None:
    """Raise ValueError with the count and the first place when a score is NaN."""
    places = np.argwhere(np.isnan(scores))
    if len(places):
        record, column = places[0]
        raise ValueError(
            f"{len(places)} of {scores.size} scores are NaN, first in record {record}, class {column}: "
            "look at what made them; no metric is defined on NaN"
        )


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
