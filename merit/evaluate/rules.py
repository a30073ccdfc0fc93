"""What each rule of the published protocols is worth: the same embeddings scored in two ways, one rule at a time.

A rule has a published and a proper way. Everything else is held at what this book does: folds by patient, the last
epoch, the threshold from the validation fold, score >= t, corrected labels. `all` sets every rule as published at once.
Values are fractions; worth = published less proper. F folds, E epochs, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from merit.config import ProbeConfig
from merit.evaluate.heads import AS_PUBLISHED
from merit.evaluate.probe_tables import checked_features
from merit.evaluate.rules_forms import Trace, pick, trace
from merit.evaluate.rules_splits import recording_splits
from merit.evaluate.splits import OFFICIAL_SPLIT, TEN_FOLDS, NotEnoughData, Split, make_splits, scored_classes
from merit.evaluate.tasks import TaskData

N_RESAMPLES = 50
"""Resamples of the test patients where there is one split and so no spread over folds."""

Way = tuple[str, str]
"""A form of a metric, and the epoch after which it is taken (see `rules_forms.pick`)."""

ON_SAME_HEADS: dict[str, tuple[tuple[str, Way, Way], ...]] = {
    "threshold": (
        ("f1", ("f1_oracle", "last"), ("f1", "last")),
        ("accuracy", ("accuracy_oracle", "last"), ("accuracy", "last")),
    ),
    "sign_oracle": (
        ("f1", ("f1_oracle_strict", "last"), ("f1_oracle", "last")),
        ("accuracy", ("accuracy_oracle_strict", "last"), ("accuracy_oracle", "last")),
    ),
    "sign": (
        ("f1", ("f1_strict", "last"), ("f1", "last")),
        ("accuracy", ("accuracy_strict", "last"), ("accuracy", "last")),
    ),
    "epoch": (("auroc", ("auroc", "test"), ("auroc", "last")), ("f1", ("f1", "test"), ("f1", "last"))),
    "epoch_validation": (
        ("auroc", ("auroc", "test"), ("auroc", "validation")),
        ("f1", ("f1", "test"), ("f1", "validation")),
    ),
}
"""Rule -> (metric, published way, proper way), for the rules that one set of heads answers."""

HONEST = (("auroc", ("auroc", "last")), ("f1", ("f1", "last")), ("accuracy", ("accuracy", "last")))
"""Every metric as this book takes it."""

PUBLISHED = {"auroc": ("auroc", "test"), "f1": ("f1_oracle", "test"), "accuracy": ("accuracy_oracle_strict", "test")}
"""Every metric as MERL's code prints it: F1 at >= t, accuracy at > t, t and epoch from the scored fold."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the heads are trained and on what device."""

    config: ProbeConfig
    variant: str = AS_PUBLISHED
    protocol: str = TEN_FOLDS
    device: str = "cpu"


def worth_of_rules(
    features: np.ndarray,
    task: TaskData,
    setting: Setting,
    *,
    released: tuple[np.ndarray, TaskData] | None = None,
    unseen: bool = True,
) -> list[dict[str, Any]]:
    """Rows {rule, metric, published, proper, worth, spread, by_fold, ...} or {rule, reason}, JSON-ready.

    features float32 [N, D] of the task's records. released: features and task with the labels as distributed (CSN).
    unseen: no patient of the task was seen in pretraining; otherwise folds by recording are not drawn, since they
    would score them. spread: sd over folds of the difference, or with one split over resamples of its test patients.
    """
    features = checked_features(features, len(task.rows))
    splits = make_splits(task.folds, setting.protocol, setting.config.folds)
    honest = _trace(features, task, splits, _scored(task, splits, setting), setting)
    rows = [
        _row(rule, metric, (honest, published), (honest, proper))
        for rule, pairs in ON_SAME_HEADS.items()
        for metric, published, proper in pairs
    ]
    flawed, pure, combined = honest, honest, ["threshold", "sign_oracle", "epoch"]
    if released is not None:
        flawed = _released(*released, setting)
        about = _changed_labels(task, released[1])
        rows += [_row("labels", metric, (flawed, way), (honest, way), **about) for metric, way in HONEST]
        combined.append("labels")
    drawn = _by_recording(features, task, setting, unseen)
    if isinstance(drawn, str):
        rows.append({"rule": "by_recording", "reason": drawn})
    else:
        leaking, purged, about = drawn
        rows += [_row("by_recording", metric, (leaking, way), (purged, way), **about) for metric, way in HONEST]
        if setting.protocol != OFFICIAL_SPLIT and released is None:
            flawed, pure = leaking, purged
            combined.append("by_recording")
    rows += [_row("all", metric, (flawed, PUBLISHED[metric]), (pure, way), combined=combined) for metric, way in HONEST]
    return rows


def head(task: TaskData, setting: Setting) -> dict[str, Any]:
    """What the rows of a task have in common."""
    n_patients = len(np.unique(task.patients))
    about = {"task": task.task, "cohort": task.cohort, "variant": setting.variant, "protocol": setting.protocol}
    return about | {"n_records": len(task.rows), "n_patients": n_patients, "n_classes": len(task.classes)}


def _row(rule: str, metric: str, published: tuple[Trace, Way], proper: tuple[Trace, Way], **about: Any) -> dict:
    """One line: means over folds, their difference, its spread, and the difference fold by fold."""
    (there, way), (here, honest) = published, proper
    a, b = pick(there.folds, *way), pick(here.folds, *honest)
    both = ~np.isnan(a) & ~np.isnan(b)
    a, b = a[both], b[both]
    drawn = a - b if len(a) > 1 else pick(there.resamples, *way) - pick(here.resamples, *honest)
    drawn = drawn[~np.isnan(drawn)]
    values = {"rule": rule, "metric": metric, "n_folds": len(a)}
    if not len(a):
        return values | {"reason": "no fold scores a class under both ways"}
    means = {"published": float(a.mean()), "proper": float(b.mean()), "worth": float((a - b).mean())}
    spread = float(drawn.std(ddof=1)) if len(drawn) > 1 else None
    over = "folds" if len(a) > 1 else "resamples of the test patients"
    return values | means | {"spread": spread, "spread_over": over, "by_fold": (a - b).tolist()} | about


def _trace(
    features: np.ndarray, task: TaskData, splits: list[Split], scored: np.ndarray, setting: Setting, **more: Any
) -> Trace:
    return trace(
        features, task.labels, task.groups, splits, scored, setting.config, variant=setting.variant,
        device=setting.device, n_resamples=N_RESAMPLES, **more,
    )  # fmt: skip


def _scored(task: TaskData, splits: list[Split], setting: Setting) -> np.ndarray:
    return np.stack([scored_classes(task.labels, split, setting.config.min_positives) for split in splits])


def _released(features: np.ndarray, task: TaskData, setting: Setting) -> Trace:
    """Trained and scored on the labels as released, each class that those labels make scorable."""
    features = checked_features(features, len(task.rows))
    splits = make_splits(task.folds, setting.protocol, setting.config.folds)
    return _trace(features, task, splits, _scored(task, splits, setting), setting)


def _changed_labels(corrected: TaskData, released: TaskData) -> dict[str, Any]:
    """How many recordings and which classes the correction changes; counts of positives, released and corrected."""
    here = dict(zip(corrected.rows.tolist(), corrected.labels))
    nothing = np.zeros(len(corrected.classes), dtype=bool)
    there = dict(zip(released.rows.tolist(), released.labels))
    changed = sum((here.get(row, nothing) != there.get(row, nothing)).any() for row in set(here) | set(there))
    counts = zip(corrected.classes, released.labels.sum(axis=0).tolist(), corrected.labels.sum(axis=0).tolist())
    classes = {name: [there, here] for name, there, here in counts if there != here}
    return {"n_changed": int(changed), "changed_classes": classes}


def _by_recording(
    features: np.ndarray, task: TaskData, setting: Setting, unseen: bool
) -> tuple[Trace, Trace, dict[str, Any]] | str:
    """Traces with and without the test patients' other recordings and what is known of them; or why there are none."""
    if not unseen:
        return "folds by recording would score patients that this encoder was pretrained on"
    try:
        drawn = recording_splits(task, setting.config.seed)
    except NotEnoughData as reason:
        return str(reason)
    scored = _scored(task, drawn.by_recording, setting) & _scored(task, drawn.by_patient, setting)
    leaking = _trace(features, task, drawn.by_recording, scored, setting)
    purged = _trace(features, task, drawn.by_patient, scored, setting, every_epoch=False)
    about = {"n_several": drawn.n_patients, "n_several_records": drawn.n_records, "n_leaking": drawn.n_tested_leaking}
    return leaking, purged, about
