"""AUROC of linear probing within groups of people: by sex and by age, over the classes that every group can score.

Two groups are compared only on classes that each of them has in sufficient number, so that the same mean is compared.
The logits are out of fold, as in Table 1. One draw of patients serves all groups of an attribute, so a difference of
two groups has its interval from paired resamples.

N records, C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from merit.config import ProbeConfig
from merit.evaluate import bootstrap, metrics, probing
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
) -> pd.DataFrame:
    """The groups of one attribute: one row per group and class, macro AUROC over `classes` in that of class "macro".

    member: str [N], the group of each record. names: those to compare, in order; records of others (unknown) are
    counted and not scored. `scored` is "level", or "difference" for what a group has less the one `against` which it is
    held, the compared group with most recordings. A class that some compared group has too seldom has a reason in all
    of them; a macro row has one where fewer than two groups, or no class, can be compared.
    """
    tested = scored.any(axis=1)
    rows_of = {name: tested & (member == name) for name in (*names, UNKNOWN)}
    able = [name for name in names if rows_of[name].sum() >= min_records]
    positives = {name: (task.labels & scored)[rows].sum(axis=0) for name, rows in rows_of.items()}
    negatives = {name: scored[rows].sum(axis=0) - positives[name] for name, rows in rows_of.items()}
    why: dict[str, str] = {}
    for c, code in enumerate(task.classes):
        sides = (("positive", positives), ("negative", negatives))
        counts = [(name, kind, int(number[name][c])) for name in able for kind, number in sides]
        if few := [f"{name}: {n} {kind}{'s' * (n != 1)}" for name, kind, n in counts if n < min_positives]:
            why[code] = ", ".join(few) if any(n for _, _, n in counts) else "no fold scores it"
    classes = [code for code in task.classes if code not in why]
    if len(able) < 2:
        reason = f"fewer than two groups have {min_records} scored recordings"
    elif not classes:
        reason = f"no class has {min_positives} scored recordings with it and without it in each of {', '.join(able)}"
    else:
        reason = None
    pooled: dict[str, bootstrap.Pooled] = {}
    if reason is None:
        counted = np.isin(np.array(task.classes, dtype=object), classes)
        for name in able:  # all patients are drawn, so that resamples of two groups are of the same draw
            own = scored & counted & (member == name)[:, None]
            pooled[name] = bootstrap.pool_ranks(task.labels, logits, own, task.groups, config)
    against = max(able, key=lambda name: rows_of[name].sum()) if pooled else None
    found: list[dict[str, Any]] = []
    for name, rows in rows_of.items():
        about = {"group": name, "scored": "level", "compared": name in able}
        patients = len(np.unique(task.patients[rows]))
        every = {**about, "class": "macro", "n": int(rows.sum()), "n_patients": patients, "classes": classes}
        found.append({**every, **(pooled[name].triple() if name in pooled else {"reason": reason})})
        for c, code in enumerate(task.classes):
            counts = {"n_positive": int(positives[name][c]), "n_negative": int(negatives[name][c])}
            value = metrics.number(pooled[name].per_class["auroc"][c]) if name in pooled else None
            found.append({**about, "class": code, **counts, "value": value, "reason": why.get(code)})
        if name in pooled and name != against:
            difference = bootstrap.paired(pooled[name], pooled[against])
            found.append({**every, "scored": "difference", "against": against, **difference})
    return pd.DataFrame(found).assign(metric="auroc")
