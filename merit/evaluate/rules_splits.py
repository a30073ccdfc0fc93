"""Folds drawn by recording, and the same folds without the test patients' other recordings.

N records of a task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from merit.data.store import N_FOLDS, assign_folds
from merit.evaluate.splits import NotEnoughData, Split, make_splits
from merit.evaluate.tasks import TaskData


@dataclass(frozen=True)
class RecordingSplits:
    """Two sets of splits that test the same recordings, and train and validate on as many."""

    by_recording: list[Split]
    """A test patient's other recordings may be trained or validated on."""
    by_patient: list[Split]
    """They are taken out."""
    n_patients: int
    """Patients (groups) with several recordings in the task."""
    n_records: int
    """Their recordings."""
    n_tested_leaking: int
    """Recordings, over all folds, whose patient has another one in the training part."""


def recording_splits(task: TaskData, seed: int = 0) -> RecordingSplits:
    """Ten folds stratified on labels with every recording a group of its own; both forms of each split.

    Taking a test patient's other recordings out makes the training part smaller; from the form that keeps them as many
    others are taken at random, so that the two differ in nothing but whose recordings they are. Raises NotEnoughData
    where no patient has two recordings.
    """
    _, group, counts = np.unique(task.groups, return_inverse=True, return_counts=True)
    several = counts[group] > 1
    if not several.any():
        raise NotEnoughData(
            f"no patient has two of its {len(group)} recordings (where no patient id is published, each counts as one)"
        )
    names = [[task.classes[c] for c in np.flatnonzero(row)] for row in task.labels]
    folds = assign_folds([f"{row:09d}" for row in range(len(group))], names, seed)
    by_recording, by_patient, leaking = [], [], 0
    for split in make_splits(folds, n_folds=N_FOLDS):
        tested = np.unique(group[split.test])
        generator = np.random.default_rng([seed, split.fold])
        (kept, pure), (kept_validation, pure_validation) = (
            _both_forms(part, np.isin(group[part], tested), generator) for part in (split.train, split.validation)
        )
        by_recording.append(Split(split.fold, kept, kept_validation, split.test))
        by_patient.append(Split(split.fold, pure, pure_validation, split.test))
        leaking += int(np.isin(group[split.test], group[kept]).sum())
    return RecordingSplits(by_recording, by_patient, int((counts > 1).sum()), int(several.sum()), leaking)


def _both_forms(rows: np.ndarray, tested: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(rows less as many others as are tested, rows less those whose patient is tested), both rising."""
    others = np.flatnonzero(~tested)
    dropped = generator.choice(others, size=min(int(tested.sum()), len(others)), replace=False)
    return np.delete(rows, dropped), rows[~tested]
