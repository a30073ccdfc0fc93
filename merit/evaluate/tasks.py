"""A classification task on a cohort: which of its records take part, with which labels, folds and patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from merit.data import taxonomy
from merit.evaluate.splits import OFFICIAL_SPLIT, TEN_FOLDS, NotEnoughData, make_splits, scored_classes


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """The records of one task, by record id: a store in another order gives the same task. N records, C classes."""

    task: str
    cohort: str
    classes: tuple[str, ...]
    rows: np.ndarray
    """int [N]: where each record stands in the table it was selected from; features of the table are taken with it."""
    labels: np.ndarray
    """bool [N, C]."""
    folds: np.ndarray
    """int [N], from 1."""
    patients: np.ndarray
    """str [N]."""
    groups: np.ndarray
    """str [N]: what is resampled together. Patients, or, where no patient id is published, groups of duplicates."""
    n_left_out: int
    """Records of the table without any label of the task."""

    def scored_patients(self, protocol: str = TEN_FOLDS) -> list[tuple[str, str]]:
        """(cohort, patient) pairs, each once, whose records the protocol scores or sets thresholds on.

        For `seen.refuse_seen`: under the official split those are folds 9 and 10, and a head may be trained on patients
        that the encoder has seen.
        """
        held_out = self.folds >= 9 if protocol == OFFICIAL_SPLIT else np.ones(len(self.folds), dtype=bool)
        return [(self.cohort, patient) for patient in np.unique(self.patients[held_out]).tolist()]


def labelled(task: str, records: pd.DataFrame) -> TaskData:
    """The records of a cohort's table that have a label of the task, by record id, whatever folds could score.

    records: as for `select`. Raises NotEnoughData for a table without such records, or where one of them has no fold.
    """
    if task not in taxonomy.TASKS:
        raise ValueError(f"unknown task {task!r}; known: {list(taxonomy.TASKS)}")
    classes = tuple(taxonomy.classes(task))
    matrix = taxonomy.label_matrix(task, records["labels"].tolist())
    rows = np.flatnonzero(matrix.any(axis=1))
    ids = records["record_id"].astype(str).to_numpy(dtype=object)
    rows = rows[np.argsort(ids[rows], kind="stable")]
    part = records.iloc[rows]
    if not len(rows):
        raise NotEnoughData(f"{task}: none of {len(records)} records has one of its {len(classes)} labels")
    if part["fold"].isna().any():
        raise NotEnoughData(f"{task}: {part['fold'].isna().sum()} of {len(part)} labelled records have no fold")
    patients = part["patient_id"].astype(str).to_numpy(dtype=object)
    return TaskData(
        task=task,
        cohort=taxonomy.TASK_COHORT[task],
        classes=classes,
        rows=rows,
        labels=matrix[rows],
        folds=part["fold"].to_numpy(dtype=np.int64),
        patients=patients,
        groups=part["group"].astype(str).to_numpy(dtype=object) if "group" in part else patients,
        n_left_out=len(records) - len(rows),
    )


def select(
    task: str, records: pd.DataFrame, *, protocol: str = TEN_FOLDS, n_folds: int = 10, min_positives: int = 2
) -> TaskData:
    """As `labelled`, for a protocol that trains: a class must be scored in some fold.

    records: columns record_id, patient_id, fold, labels (and group, where a store gives one). Raises NotEnoughData,
    with the reason, when the protocol cannot score a single class on them.
    """
    data = labelled(task, records)
    _need_a_class(data, protocol, n_folds, min_positives)
    return data


def _need_a_class(data: TaskData, protocol: str, n_folds: int, min_positives: int) -> None:
    """Raise NotEnoughData unless some fold scores some class."""
    try:
        splits = make_splits(data.folds, protocol, n_folds)
    except NotEnoughData as missing:
        raise NotEnoughData(f"{data.task}: {missing}") from None
    if not any(scored_classes(data.labels, split, min_positives).any() for split in splits):
        raise NotEnoughData(
            f"{data.task}: no class has {min_positives} positives and {min_positives} negatives in train, validation "
            f"and test of any fold ({len(data.rows)} records, {len(data.classes)} classes)"
        )
