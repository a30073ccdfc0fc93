"""What is scored: tasks of a cohort, folds and splits, MERL's published splits, and who was seen in pretraining."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit.data import taxonomy

# -- folds and splits -------------------------------------------------------------------------------------------------


TEN_FOLDS = "ten folds"
"""Fold k tests, the next one validates, the others train; every record is tested once."""
OFFICIAL_SPLIT = "official split (train 1-8, validate 9, test 10)"
"""PTB-XL's own split, for checkpoints that were pretrained on its folds 1-8."""
UNSEEN_FOLDS = (9, 10)
"""PTB-XL's folds that are scored where its others are pretrained on."""
PROTOCOLS = (TEN_FOLDS, OFFICIAL_SPLIT)


class NotEnoughData(ValueError):
    """A task cannot be scored on what is there; the message says what is missing, for print in place of numbers."""


@dataclass(frozen=True)
class Split:
    """One division of a task's records; the arrays hold positions in the task, ascending."""

    fold: int
    """The test fold, counted from 1; names the split and seeds its weights and shuffles."""
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def parts(self) -> dict[str, np.ndarray]:
        """The positions by the name of the part."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def make_splits(folds: np.ndarray, protocol: str = TEN_FOLDS, n_folds: int = 10) -> list[Split]:
    """The splits of a protocol, from each record's fold (int [N], 1 to n_folds).

    Raises NotEnoughData when a fold that the protocol needs is empty.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {list(PROTOCOLS)}")
    if len(folds) and folds.max() > n_folds:
        raise ValueError(f"folds: expected {n_folds} in the records; got {folds.max()}, whose records would be lost")

    def need(there: np.ndarray, wanted: Iterable[int], what: str) -> None:
        if empty := sorted(set(wanted) - set(np.unique(there).tolist())):
            raise NotEnoughData(f"{what} needs folds that hold no record here: {empty} ({len(folds)} records in all)")

    def split(test: int, validation: int, train: Iterable[int]) -> Split:
        parts = (np.isin(folds, list(train)), folds == validation, folds == test)
        return Split(test, *(np.flatnonzero(part) for part in parts))

    if protocol == OFFICIAL_SPLIT:
        need(folds, UNSEEN_FOLDS, "the official split")
        need(np.where(folds <= 8, 8, folds), [8], "the official split (8 stands for 1 to 8)")
        return [split(10, 9, range(1, 9))]
    everything = range(1, n_folds + 1)
    need(folds, everything, f"{n_folds}-fold cross-validation")
    following = {k: k % n_folds + 1 for k in everything}
    return [split(k, following[k], [j for j in everything if j not in (k, following[k])]) for k in everything]


def scored_classes(labels: np.ndarray, split: Split, min_positives: int = 2) -> np.ndarray:
    """bool [C]: classes with at least min_positives positives, and negatives, in each part of a split."""
    enough = np.ones(labels.shape[1], dtype=bool)
    for rows in split.parts().values():
        positives = labels[rows].sum(axis=0)
        enough &= (positives >= min_positives) & (len(rows) - positives >= min_positives)
    return enough


# -- tasks ------------------------------------------------------------------------------------------------------------


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

        For `refuse_seen`: under the official split those are folds 9 and 10, and a head may be trained on patients
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
    try:
        splits = make_splits(data.folds, protocol, n_folds)
    except NotEnoughData as missing:
        raise NotEnoughData(f"{data.task}: {missing}") from None
    if not any(scored_classes(data.labels, split, min_positives).any() for split in splits):
        raise NotEnoughData(
            f"{data.task}: no class has {min_positives} positives and {min_positives} negatives in train, validation "
            f"and test of any fold ({len(data.rows)} records, {len(data.classes)} classes)"
        )
    return data


# -- MERL's splits ----------------------------------------------------------------------------------------------------


# Its lists of training, validation and test recordings of CPSC2018 and CSN, which the paper's transfers use. Published
# with its code (cheliu-computation/MERL-ICML2024, MIT licence, finetune/data_split). Each recording is in one list; the
# division is by recording. They are read from `merl-splits` in the folder of data sets, where it is.

MERL_FOLDER = Path("merl-splits", "finetune", "data_split")
MERL_FOLDS = {"train": 1, "val": 9, "test": 10}
"""Part -> the fold that stands for it under the official split; 0 stands for a recording that no list has."""
MERL_NAMES = {"cpsc2018": ("icbeb", "filename"), "csn": ("chapman", "ecg_path")}
"""Cohort -> MERL's name of it, and the column that names the recording."""


def merl_files(data: Path | None, cohort: str) -> dict[str, Path]:
    """Part -> file of a cohort's lists; empty unless all three are there."""
    if data is None or cohort not in MERL_NAMES:
        return {}
    name = MERL_NAMES[cohort][0]
    found = {part: data / MERL_FOLDER / name / f"{name}_{part}.csv" for part in MERL_FOLDS}
    return found if all(path.is_file() for path in found.values()) else {}


def merl_folds(lists: dict[str, Path], cohort: str, record_ids: Sequence[str]) -> np.ndarray:
    """int64 [N]: the fold of each recording by MERL's lists. ValueError for a list without the column of names."""
    column = MERL_NAMES[cohort][1]
    fold_of: dict[str, int] = {}
    for part, path in lists.items():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if column not in table:
            raise ValueError(f"{path}: expected the column {column}; got {', '.join(map(str, table.columns))}")
        fold_of |= {Path(name).stem: MERL_FOLDS[part] for name in table[column]}
    return np.array([fold_of.get(str(record), 0) for record in record_ids], dtype=np.int64)


# -- patients seen in pretraining: every evaluator asks here first ----------------------------------------------------


class SeenInPretraining(ValueError):
    """Patients that the checkpoint was pretrained on were about to be scored."""


def refuse_seen(patients_scored: Iterable[tuple[str, str]], seen: pd.DataFrame, allow_seen: bool = False) -> int:
    """Number of scored patients that the checkpoint has seen; raises SeenInPretraining unless that is 0 or allowed.

    patients_scored: (cohort, patient_id) pairs. seen: the checkpoint's `seen.parquet`, columns cohort, patient_id,
    record_id. Patients count, not recordings: two recordings of one heart are not independent. Patient ids are compared
    within a cohort only, as text.
    """
    scored = {(str(cohort), str(patient)) for cohort, patient in patients_scored}
    common = scored & set(zip(seen["cohort"].astype(str), seen["patient_id"].astype(str)))
    if common and not allow_seen:
        cohort, patient = min(common)
        raise SeenInPretraining(
            f"{len(common)} of {len(scored)} patients to be scored were seen in pretraining, e.g. patient {patient} of "
            f"{cohort}: score patients the checkpoint has not seen (PTB-XL: folds 9 and 10), pretrain without them, or "
            "pass allow_seen=True, which marks the number"
        )
    return len(common)


def remarks(overlap: bool, rates_hz: np.ndarray, wanted_hz: float) -> dict[str, Any]:
    """What a number of an encoder of others must be read with. overlap: the data set was in its pretraining, of which
    the patients are not known, so that n_seen is None; n_band_limited: recordings whose files (rates_hz) have a lower
    rate than it reads.
    """
    found = {"overlap": overlap, "n_band_limited": int((rates_hz < wanted_hz).sum())}
    return {**found, "n_seen": None} if overlap else found
