"""From trained heads to the values of a linear-probe result: per fold, over folds, pooled, per class.

All scores are fractions in [0, 1]; None stands where nothing could be scored. F folds, N records, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from merit.config import ProbeConfig
from merit.evaluate import bootstrap, linear_probe, metrics, thresholds
from merit.evaluate.heads import VARIANTS, Heads
from merit.evaluate.splits import TEN_FOLDS, Split, make_splits, scored_classes
from merit.evaluate.tasks import TaskData

FOLD_METRICS = ("auroc", "average_precision", "f1", "f1_oracle", "accuracy", "accuracy_oracle")


def probe(
    features: np.ndarray,
    task: TaskData,
    config: ProbeConfig,
    *,
    encoder: str = "",
    variant: str | None = None,
    protocol: str = TEN_FOLDS,
    device: str = "cpu",
) -> dict[str, dict[str, Any]]:
    """Variant -> result values of linear probing, for both variants or the one that is named.

    features: float32 [N, D], one row for each record of the task (`embeddings[task.rows]`). Raises ValueError for
    features that do not fit or are not finite, NotEnoughData where the protocol cannot be run. The values depend on
    the arguments alone: no global random state is read or left changed.
    """
    features = checked_features(features, len(task.rows))
    variants = VARIANTS if variant is None else (variant,)
    if unknown := set(variants) - set(VARIANTS):
        raise ValueError(f"variant: expected one of {', '.join(VARIANTS)}; got {unknown.pop()!r}")
    splits = make_splits(task.folds, protocol, config.folds)
    scored = np.stack([scored_classes(task.labels, split, config.min_positives) for split in splits])
    choose = _validation_auroc(features, task, splits, scored) if config.select == "best_validation" else None
    heads = linear_probe.train(features, task.labels, splits, config, variants=variants, device=device, choose=choose)
    return {
        name: _values(_score(features, task, splits, scored, heads, v), heads.epoch[:, v], task, config)
        | {"encoder": encoder, "variant": name, "protocol": protocol}
        for v, name in enumerate(variants)
    }


def checked_features(features: np.ndarray, n_records: int) -> np.ndarray:
    """Features as contiguous float32 [N, D]; ValueError, with count and first row, for what cannot be probed."""
    features = np.ascontiguousarray(features, dtype=np.float32)
    if features.ndim != 2 or len(features) != n_records:
        raise ValueError(
            f"features: expected one row for each of the task's {n_records} records (embeddings[task.rows]); "
            f"got shape {features.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise ValueError(
            f"features: expected finite values; got {len(bad)} of {n_records} rows that are not, the first is row "
            f"{bad[0]}: look at the encoder's output for that recording"
        )
    return features


def _validation_auroc(
    features: np.ndarray, task: TaskData, splits: list[Split], scored: np.ndarray
) -> Callable[[Heads], np.ndarray]:
    """What `best_validation` looks at: macro AUROC of each head on its validation fold, [F, V]."""

    def choose(heads: Heads) -> np.ndarray:
        """The figure of every head after an epoch, [F, V]."""
        figure = np.full(heads.epoch.shape, np.nan)
        for f, v in np.ndindex(figure.shape):
            rows = splits[f].validation
            logits = heads.logits(features[rows], f, v)
            figure[f, v] = metrics.macro(metrics.auroc(task.labels[rows], logits), scored[f])
        return figure

    return choose


@dataclass(frozen=True)
class _OutOfFold:
    """What each record got from the one head that neither trained nor chose a threshold on it."""

    splits: list[Split]
    scored: np.ndarray
    """bool [F, C]."""
    per_fold: list[dict[str, np.ndarray]]
    """For each fold, metric -> [C]."""
    logits: np.ndarray
    """float32 [N, C]; 0 outside every test fold."""
    predicted: np.ndarray
    """bool [N, C], by the threshold of the validation fold."""
    record_scored: np.ndarray
    """bool [N, C]: the record lies in a test fold that scores the class."""


def _score(
    features: np.ndarray, task: TaskData, splits: list[Split], scored: np.ndarray, heads: Heads, variant: int
) -> _OutOfFold:
    """Each test fold under its own head, with thresholds from its own validation fold."""
    logits = np.zeros(task.labels.shape, dtype=np.float32)
    predicted, record_scored = np.zeros_like(task.labels), np.zeros_like(task.labels)
    per_fold = []
    for f, split in enumerate(splits):
        validation = heads.logits(features[split.validation], f, variant)
        _, threshold = thresholds.best_f1(task.labels[split.validation], validation)
        test, labels = heads.logits(features[split.test], f, variant), task.labels[split.test]
        logits[split.test], record_scored[split.test] = test, scored[f]
        predicted[split.test] = thresholds.predict(test, threshold)
        f1_oracle, accuracy_oracle = thresholds.oracle(labels, test)
        per_fold.append(
            {
                "auroc": metrics.auroc(labels, test),
                "average_precision": metrics.average_precision(labels, test),
                "f1": metrics.f1(labels, predicted[split.test]),
                "f1_oracle": f1_oracle,
                "accuracy": metrics.accuracy(labels, predicted[split.test]),
                "accuracy_oracle": accuracy_oracle,
            }
        )
    return _OutOfFold(splits, scored, per_fold, logits, predicted, record_scored)


def _values(scores: _OutOfFold, epochs: np.ndarray, task: TaskData, config: ProbeConfig) -> dict[str, Any]:
    """The values of one variant, JSON-ready."""
    folds = [_fold_row(scores, f, int(epochs[f]), task) for f in range(len(scores.splits))]
    pooled = bootstrap.pool(
        task.labels,
        scores.logits,
        scores.predicted,
        scores.record_scored,
        task.groups,
        n_resamples=config.n_resamples,
        seed=config.seed,
    )
    columns = {name: [row[name] for row in folds if row[name] is not None] for name in FOLD_METRICS}
    return {
        "task": task.task,
        "cohort": task.cohort,
        "classes": list(task.classes),
        "n_records": len(task.rows),
        "n_patients": len(np.unique(task.patients)),
        "n_left_out": task.n_left_out,
        "folds": folds,
        "mean": {name: float(np.mean(c)) if c else None for name, c in columns.items()},
        "sd": {name: float(np.std(c, ddof=1)) if len(c) > 1 else None for name, c in columns.items()},
        "pooled": {
            name: dict(zip(("value", "low", "high"), map(metrics.number, triple)))
            for name, triple in pooled.macro.items()
        },
        "per_class": {
            name: {
                "n_positive": int(task.labels[:, c].sum()),
                "n_folds": int(scores.scored[:, c].sum()),
                "auroc": metrics.number(pooled.per_class["auroc"][c]),
                "average_precision": metrics.number(pooled.per_class["average_precision"][c]),
            }
            for c, name in enumerate(task.classes)
        },
    }


def _fold_row(scores: _OutOfFold, f: int, epoch: int, task: TaskData) -> dict[str, Any]:
    """Macro metrics of one fold over the classes that it scores, with the names of those that it does not."""
    split, scored = scores.splits[f], scores.scored[f]
    return {
        "fold": split.fold,
        "epoch": epoch,
        "n_test": len(split.test),
        "n_scored_classes": int(scored.sum()),
        "unscored": [name for name, yes in zip(task.classes, scored) if not yes],
    } | {name: metrics.number(metrics.macro(scores.per_fold[f][name], scored)) for name in FOLD_METRICS}
