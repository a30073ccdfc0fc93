"""AUROC of linear probing within groups of people: by sex and by age, over the classes that every group can score.

Two groups are compared only on classes that each of them has in sufficient number, so that the same mean is compared.
The logits are out of fold, as in Table 1. One draw of patients serves all groups of an attribute, so a difference of
two groups has its interval from paired resamples.

N records, C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from merit.config import ProbeConfig
from merit.evaluate import bootstrap, probing
from merit.evaluate.probing import checked_features
from merit.evaluate.tasks import TaskData, make_splits, scored_classes

UNKNOWN = "unknown"
SEXES = ("female", "male")
AGE_EDGES = (40, 65, 80)
AGES = ("under 40", "40 to 64", "65 to 79", "80 and over")
"""Groups of age in years; the first three end below AGE_EDGES. PTB-XL writes 300 for everybody above 89, which stores
hold as 90, so such a person is in the last group and not unknown."""
ATTRIBUTES = {"sex": SEXES, "age": AGES}
MIN_RECORDS = 50
"""Recordings that a group needs to be compared."""
MIN_POSITIVES = 10
"""Recordings with a class, and without it, that every compared group needs for the class to count."""


def sex_groups(sex: Sequence[Any]) -> np.ndarray:
    """str [N]: female, male, or unknown for whatever else a store holds."""
    return np.array([one if one in SEXES else UNKNOWN for one in sex], dtype=object)


def age_groups(age: Sequence[float | None]) -> np.ndarray:
    """str [N]: the group of each age in years; unknown for None and NaN."""
    years = np.array([np.nan if one is None else one for one in age], dtype=float)
    names = np.array(AGES, dtype=object)[np.digitize(np.nan_to_num(years), AGE_EDGES)]
    return np.where(np.isnan(years), UNKNOWN, names)


def out_of_fold(
    features: np.ndarray, task: TaskData, config: ProbeConfig, *, variant: str, protocol: str, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """(logits float32 [N, C], scored bool [N, C]) of linear probing, each record by the head that did not train on it.

    The heads are those of the last epoch. scored: the record lies in a test fold that scores the class; elsewhere its
    logit is 0 and means nothing.
    """
    features = checked_features(features, len(task.rows))
    splits = make_splits(task.folds, protocol, config.folds)
    heads = probing.train(features, task.labels, splits, config, variants=(variant,), device=device)
    logits, scored = np.zeros(task.labels.shape, dtype=np.float32), np.zeros_like(task.labels)
    for f, split in enumerate(splits):
        logits[split.test] = heads.logits(features[split.test], f, 0)
        scored[split.test] = scored_classes(task.labels, split, config.min_positives)
    return logits, scored


def compare(
    task: TaskData,
    logits: np.ndarray,
    scored: np.ndarray,
    member: np.ndarray,
    names: Sequence[str],
    config: ProbeConfig,
    *,
    min_records: int = MIN_RECORDS,
    min_positives: int = MIN_POSITIVES,
) -> dict[str, Any]:
    """The groups of one attribute, JSON-ready: counts of each, macro AUROC of those compared, and their differences.

    member: str [N], the group of each record. names: those to compare, in order; records of others (unknown) are
    counted and not scored. Differences are to the compared group with most recordings. `reason` stands in place of the
    differences where fewer than two groups, or no class, can be compared.
    """
    tested = scored.any(axis=1)
    groups = {name: _counts(task, scored, tested & (member == name)) for name in (*names, UNKNOWN)}
    able = [name for name in names if groups[name]["n_records"] >= min_records]
    lacking = {c: _lacking(groups, able, c, min_positives) for c in task.classes}
    classes = [c for c in task.classes if not lacking[c]]
    found: dict[str, Any] = {
        "groups": groups, "compared": able, "classes": classes, "differences": {},
        "left_out": {c: why for c, why in lacking.items() if why},
        "min_records": min_records, "min_positives": min_positives,
    }  # fmt: skip
    if len(able) < 2 or not classes:
        return found | {"reason": _reason(able, min_records, min_positives)}
    counted = np.isin(np.array(task.classes, dtype=object), classes)
    pooled = {name: _pool(task, logits, scored & counted & (member == name)[:, None], config) for name in able}
    reference = max(able, key=lambda name: groups[name]["n_records"])
    for name in able:
        groups[name] |= {"auroc": pooled[name].triple(), "per_class": _per_class(task, pooled[name])}
        if name != reference:
            found["differences"][name] = bootstrap.paired(pooled[name], pooled[reference])
    return found | {"reference": reference}


def _counts(task: TaskData, scored: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Records, patients, and positives and negatives of each class among the rows, bool [N]."""
    positives, n = (task.labels & scored)[rows].sum(axis=0), scored[rows].sum(axis=0)
    return {
        "n_records": int(rows.sum()),
        "n_patients": len(np.unique(task.patients[rows])),
        "positives": dict(zip(task.classes, positives.tolist())),
        "negatives": dict(zip(task.classes, (n - positives).tolist())),
        "auroc": None,
    }


def _lacking(groups: Mapping[str, Any], able: Sequence[str], name: str, least: int) -> str:
    """Which compared groups have too few records with, or without, a class; "" where none lacks."""
    counts = [(group, kind, groups[group][kind][name]) for group in able for kind in ("positives", "negatives")]
    if counts and not any(n for _, _, n in counts):
        return "no fold scores it"
    return ", ".join(f"{group}: {n} {kind}" for group, kind, n in counts if n < least)


def _reason(able: Sequence[str], min_records: int, min_positives: int) -> str:
    if len(able) < 2:
        return f"fewer than two groups have {min_records} scored recordings"
    return f"no class has {min_positives} scored recordings with it and without it in each of {', '.join(able)}"


def _pool(task: TaskData, logits: np.ndarray, scored: np.ndarray, config: ProbeConfig) -> bootstrap.Pooled:
    """One group's values; all patients are drawn, so that resamples of two groups are of the same draw."""
    return bootstrap.pool_ranks(task.labels, logits, scored, task.groups, config)


def _per_class(task: TaskData, pooled: bootstrap.Pooled) -> dict[str, float]:
    values = dict(zip(task.classes, pooled.per_class["auroc"].tolist()))
    return {name: value for name, value in values.items() if not np.isnan(value)}
