"""Zero-shot classification: recordings against texts in one space, without training (Sec. 4.2.2, App. A.2.2).

The score of a class is the cosine of recording and class vector, raw: no softmax, no temperature. N records, C classes,
R texts, d width of the shared space.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from merit.evaluate import bootstrap, metrics, thresholds
from merit.evaluate.tasks import NotEnoughData, TaskData

UNSEEN, TEST_FOLD = "unseen", "test_fold"
SCOPES = (UNSEEN, TEST_FOLD)
"""Which records are scored: all that may be, or those of the test fold alone."""

TEST = 10
"""The fold that tests."""
METRICS = ("auroc", "average_precision", "f1", "f1_oracle", "accuracy", "accuracy_oracle")
HONEST = ("f1", "accuracy")
"""Metrics that need a threshold from other folds."""


def restricted(task: TaskData, kept: np.ndarray, which: str) -> TaskData:
    """The task on the records with `kept` True, bool [N]; NotEnoughData, saying `which` were wanted, without any."""
    if not kept.any():
        raise NotEnoughData(f"{task.task}: none of {len(kept)} labelled records is {which}")
    arrays = {name: getattr(task, name)[kept] for name in ("rows", "labels", "folds", "patients", "groups")}
    return replace(task, **arrays, n_left_out=task.n_left_out + int((~kept).sum()))


def class_vectors(texts: np.ndarray, owner: np.ndarray, ensemble: bool = True) -> np.ndarray:
    """float64 [C, d] of length 1, from texts [R, d] in the shared space and the class of each, int [R], from 0.

    ensemble: the mean of a class's phrasings, each of length 1 before; else its first phrasing alone.
    """
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(1, int(owner.max()) + 1))
    of_class = np.split(_unit(texts)[order], starts)
    if ensemble:
        return _unit(np.stack([phrasings.mean(axis=0) for phrasings in of_class]))
    return np.stack([phrasings[0] for phrasings in of_class])


def cosines(ecg: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """float64 [N, C]: cosine of each recording [N, d] with each class vector [C, d]."""
    if ecg.ndim != 2 or vectors.ndim != 2 or ecg.shape[1] != vectors.shape[1]:
        raise ValueError(f"expected recordings [N, d] and class vectors [C, d]; got {ecg.shape} and {vectors.shape}")
    return _unit(ecg) @ vectors.T


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float64; ValueError for one without a direction."""
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        bad = int(np.flatnonzero(~(np.isfinite(length) & (length > 0))[:, 0])[0])
        raise ValueError(f"shared space: expected finite vectors that are not 0; row {bad} is none")
    return rows / length


def predicted_by_other_folds(labels: np.ndarray, scores: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """bool [N, C]: yes or no for each record, by the thresholds with the best F1 on all folds but its own."""
    predicted = np.zeros(labels.shape, dtype=bool)
    for fold in np.unique(folds):
        own = folds == fold
        if own.all():
            break
        _, threshold = thresholds.best_f1(labels[~own], scores[~own])
        predicted[own] = thresholds.predict(scores[own], threshold)
    return predicted


def evaluate(
    scores: np.ndarray,
    task: TaskData,
    *,
    scope: str = UNSEEN,
    n_resamples: int = 500,
    seed: int = 0,
    min_positives: int = 2,
) -> dict[str, Any]:
    """The values of a zero-shot result, fractions in [0, 1], JSON-ready.

    scores: [N, C], a row for each record of `task`, which holds only records that may be scored. scope: test_fold
    scores fold 10 alone; thresholds of f1 and accuracy come from the other folds that are there in either scope, and
    where there is none both are None, with the reason. A class is scored with at least `min_positives` positives and
    as many negatives; the others are named. Intervals: 95 %, patients resampled (`bootstrap.pool`); the oracle's
    values, chosen on the scored records, have none. Raises NotEnoughData where no class can be scored.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope: expected one of {', '.join(SCOPES)}; got {scope!r}")
    predicted = predicted_by_other_folds(task.labels, scores, task.folds)
    other_folds = len(np.unique(task.folds)) > 1
    kept = task.folds == TEST if scope == TEST_FOLD else np.ones(len(task.folds), dtype=bool)
    task, scores, predicted = restricted(task, kept, f"in fold {TEST}"), scores[kept], predicted[kept]
    return _values(task, scores, predicted if other_folds else None, min_positives, n_resamples, seed) | {
        "scope": scope
    }


def _values(
    task: TaskData, scores: np.ndarray, predicted: np.ndarray | None, min_positives: int, n_resamples: int, seed: int
) -> dict[str, Any]:
    """What `evaluate` gives, of exactly these records; predicted None: no other fold was there for thresholds."""
    positives = task.labels.sum(axis=0)
    scored = (positives >= min_positives) & (len(task.labels) - positives >= min_positives)
    if not scored.any():
        raise NotEnoughData(
            f"{task.task}: no class has {min_positives} positives and {min_positives} negatives among "
            f"{len(task.labels)} records"
        )
    pooled = bootstrap.pool(
        task.labels, scores, np.zeros_like(task.labels) if predicted is None else predicted,
        np.broadcast_to(scored, task.labels.shape), task.groups, n_resamples=n_resamples, seed=seed,
    )  # fmt: skip
    f1_oracle, accuracy_oracle = thresholds.oracle(task.labels, scores)
    macro = {
        name: dict(zip(("value", "low", "high"), map(metrics.number, three))) for name, three in pooled.macro.items()
    }
    for name, of_class in (("f1_oracle", f1_oracle), ("accuracy_oracle", accuracy_oracle)):
        macro[name] = {"value": metrics.number(metrics.macro(of_class, scored)), "low": None, "high": None}
    drawn = {name: [metrics.number(value) for value in values] for name, values in pooled.resamples.items()}
    if predicted is None:
        reason = f"all {len(task.labels)} records lie in one fold: no other one to choose thresholds on"
        for name in HONEST:
            macro[name], drawn[name] = {"value": None, "low": None, "high": None, "reason": reason}, []
    return {
        "task": task.task,
        "cohort": task.cohort,
        "classes": list(task.classes),
        "n_records": len(task.labels),
        "n_patients": len(np.unique(task.patients)),
        "n_scored_classes": int(scored.sum()),
        "unscored": [name for name, yes in zip(task.classes, scored) if not yes],
        "macro": {name: macro[name] for name in METRICS},
        "per_class": {
            name: {
                "n_positive": int(positives[c]),
                "auroc": metrics.number(pooled.per_class["auroc"][c]),
                "average_precision": metrics.number(pooled.per_class["average_precision"][c]),
                "f1_oracle": metrics.number(f1_oracle[c]) if scored[c] else None,
            }
            for c, name in enumerate(task.classes)
        },
        "resamples": drawn,
    }
