"""What is scored: tasks of a cohort, folds and splits, MERL's published splits, classes that two data sets share, and
who was seen in pretraining. N records, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit.config import one_of
from merit.data import taxonomy

# -- folds and splits -------------------------------------------------------------------------------------------------

TEN_FOLDS = "ten folds"
"""Fold k tests, the next one validates, the others train; every record is tested once."""
OFFICIAL_SPLIT = "official split (train 1-8, validate 9, test 10)"
"""PTB-XL's own split, for checkpoints that were pretrained on its folds 1-8."""
CROSS_FITTED = "cross-fitted (train 1-8; 9 and 10 validate and test in turn)"
"""The two folds that one pretraining has left out, named 9 and 10 (`Workspace.rotated`): both are scored once."""
HELD_OUT = (OFFICIAL_SPLIT, CROSS_FITTED)
"""Protocols of a data set that is also pretrained on."""
UNSEEN_FOLDS = (9, 10)
"""PTB-XL's folds that are scored where its others are pretrained on."""


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


def make_splits(folds: np.ndarray, protocol: str = TEN_FOLDS, n_folds: int = 10) -> list[Split]:
    """The splits of a protocol, from each record's fold (int [N], 1 to n_folds).

    Raises NotEnoughData when a fold that the protocol needs is empty.
    """
    if len(folds) and folds.max() > n_folds:
        raise ValueError(f"folds: expected {n_folds} in the records; got {folds.max()}, whose records would be lost")
    needed, what = {8, *UNSEEN_FOLDS}, "the official split (8 stands for 1 to 8)"
    there = set(np.where(np.isin(folds, range(1, 9)), 8, folds).tolist())
    turns = [(10, 9), (9, 10)] if protocol == CROSS_FITTED else [(10, 9)]
    if protocol == TEN_FOLDS:
        there, needed, what = set(folds.tolist()), set(range(1, n_folds + 1)), f"{n_folds}-fold cross-validation"
        turns = [(test, test % n_folds + 1) for test in sorted(needed)]
    if empty := sorted(needed - there):
        raise NotEnoughData(f"{what} needs folds that hold no record here: {empty} ({len(folds)} records in all)")
    splits = []
    for test, validation in turns:
        train = (folds >= 1) & (folds != test) & (folds != validation)
        splits.append(Split(test, *(np.flatnonzero(part) for part in (train, folds == validation, folds == test))))
    return splits


def countable(labels: np.ndarray, least: int) -> np.ndarray:
    """bool [C]: classes with at least so many positives, and negatives, among labels bool [N, C]."""
    positives = labels.sum(axis=0)
    return (positives >= least) & (len(labels) - positives >= least)


def scored_classes(labels: np.ndarray, splits: Sequence[Split], min_positives: int = 2) -> np.ndarray:
    """bool [F, C]: classes with at least min_positives positives, and negatives, in each part of a split."""
    parts = [(split.train, split.validation, split.test) for split in splits]
    return np.array([[countable(labels[rows], min_positives) for rows in part] for part in parts]).all(axis=1)


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
        held_out = self.folds >= 9 if protocol in HELD_OUT else np.ones(len(self.folds), dtype=bool)
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
    if not scored_classes(data.labels, splits, min_positives).any():
        raise NotEnoughData(
            f"{data.task}: no class has {min_positives} positives and {min_positives} negatives in train, validation "
            f"and test of any fold ({len(data.rows)} records, {len(data.classes)} classes)"
        )
    return data


# -- MERL's splits ----------------------------------------------------------------------------------------------------
#
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


# -- Table 5: which classes of two data sets are taken for one another ------------------------------------------------
#
# A block of the table names the classes of its first space and, for each, codes of the other one. In either direction
# the evaluation classes, K of them, are those of the first space, the coarser side, that have a counterpart. A merged
# target label is present where any of its codes is; a merged source score is the highest of its classes'.

SPACES = ("superclass", "cpsc2018", "csn")
"""Category spaces, by the name of their task."""
DIRECTIONS = tuple(permutations(SPACES, 2))
"""(source, target), in the order of the paper's Table 7."""
COLUMNS = ["space", "class", "counterpart_space", "counterpart_codes"]


@dataclass(frozen=True)
class Side:
    """One data set's share in an alignment."""

    space: str
    merged: dict[str, tuple[str, ...]]
    """Evaluation class -> the classes of this space that stand for it."""

    @property
    def dropped(self) -> list[str]:
        """Classes without a counterpart."""
        used = {code for codes in self.merged.values() for code in codes}
        return [name for name in taxonomy.classes(self.space) if name not in used]

    def columns(self, name: str) -> list[int]:
        """Where the classes that stand for an evaluation class are among the space's."""
        return [taxonomy.classes(self.space).index(code) for code in self.merged[name]]

    def any_of(self, labels: np.ndarray) -> np.ndarray:
        """bool [N, K] from labels bool [N, C]: an evaluation class is present where any class of it is."""
        return np.stack([labels[:, self.columns(name)].any(axis=1) for name in self.merged], axis=1)

    def highest(self, scores: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(scores [N, K], reached bool [K]) from scores [N, C]: the highest score among the usable classes of each.

        usable: bool [C], False for a class that its head could not learn. An evaluation class with no usable one is not
        reached, and its scores are 0. The order of logits is that of probabilities, so either may come in.
        """
        merged = np.zeros((len(scores), len(self.merged)), dtype=scores.dtype)
        reached = np.zeros(len(self.merged), dtype=bool)
        for k, name in enumerate(self.merged):
            if chosen := [column for column in self.columns(name) if usable[column]]:
                merged[:, k], reached[k] = scores[:, chosen].max(axis=1), True
        return merged, reached


@dataclass(frozen=True)
class Alignment:
    """A direction of transfer: both sides over the same evaluation classes, in one order."""

    source: Side
    target: Side


def align(source: str, target: str, table: pd.DataFrame) -> Alignment:
    """The alignment of a direction by a table as `read_table` gives it.

    ValueError, one line, for spaces that the table does not connect or that share no class.
    """
    blocks = dict(iter(table.groupby(["space", "counterpart_space"], sort=False)))
    first, second = (source, target) if (source, target) in blocks else (target, source)
    if (first, second) not in blocks:
        known = ", ".join(f"{a} and {b}" for a, b in blocks)
        raise ValueError(f"alignment: expected two spaces that the table connects ({known}); got {source} and {target}")
    block = blocks[first, second]
    pairs = {
        name: tuple(codes.split()) for name, codes in zip(block["class"], block["counterpart_codes"]) if codes.split()
    }
    if not pairs:
        raise ValueError(f"alignment: {source} and {target} have no class in common, so there is nothing to score")
    sides = {first: Side(first, {name: (name,) for name in pairs}), second: Side(second, pairs)}
    return Alignment(sides[source], sides[target])


def read_table(path: str | Path | None = None) -> pd.DataFrame:
    """Table 5, or a file of the same form: columns as COLUMNS, codes separated by spaces, none for no counterpart.

    ValueError, one line with file and row, for columns, spaces, classes or codes that are not known, for a class that a
    block has twice, and for two spaces that have a block each way.
    """
    where = resources.files("merit.evaluate").joinpath("label_alignment.csv") if path is None else Path(path)
    if not where.is_file():
        raise ValueError(f"alignment: expected a table with the columns {', '.join(COLUMNS)}; there is no file {where}")
    with where.open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise ValueError(
            f"{where}: expected the columns {', '.join(COLUMNS)}; got {', '.join(map(str, table.columns))}"
        )
    for row, (space, name, other, codes) in enumerate(table.itertuples(index=False), start=2):
        one_of(f"{where}, line {row}: space", space, SPACES)
        one_of(f"{where}, line {row}: counterpart_space", other, SPACES)
        for of, code in ((space, name), *((other, code) for code in codes.split())):
            if code not in (known := taxonomy.classes(of)):
                raise ValueError(f"{where}, line {row}: {of} has no class {code!r}; known: {', '.join(known)}")
    if len(twice := table[table.duplicated(COLUMNS[:3])]):
        what = f"{twice['class'].iloc[0]} of {twice['space'].iloc[0]}"
        raise ValueError(f"{where}: expected each class once in a block; {what} stands there twice")
    pairs = dict.fromkeys(zip(table["space"], table["counterpart_space"]))
    for first, second in pairs:
        if (second, first) in pairs:
            raise ValueError(f"{where}: expected one block for two spaces; {first} and {second} have one each way")
    return table


def shared_codes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Codes that stand for several classes of one block: space, counterpart_space, code, classes."""
    codes = table.assign(code=table["counterpart_codes"].str.split()).explode("code").dropna(subset="code")
    users = codes.groupby(["space", "counterpart_space", "code"], sort=False)["class"].agg(list)
    return users[users.str.len() > 1].rename("classes").reset_index().to_dict("records")


def by_snomed(table: pd.DataFrame) -> list[dict[str, Any]]:
    """CPSC2018's classes with the CSN codes of the table, and the CSN labels that have the same SNOMED CT code.

    What the two publishers mean by a name can differ from the name: CSN's STE is no ST elevation, its STTU is.
    """
    alignment = align("cpsc2018", "csn", table)
    labels, descriptions = taxonomy.csn_labels(), dict(taxonomy.csn_conditions()[["label", "description"]].to_numpy())
    rows = []
    for line in taxonomy.cpsc2018_classes().to_dict("records"):
        codes = (line["snomed"], *line["also"].split())
        same = [labels[code] for code in codes if code in labels]
        given = list(alignment.target.merged.get(line["label"], ()))
        rows.append({
            "class": line["label"], "description": line["description"], "table": given, "same_code": same,
            "agree": set(same) == set(given), "descriptions": {one: descriptions[one] for one in (*given, *same)},
        })  # fmt: skip
    return rows


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
