from __future__ import annotations

import ast
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit.data import taxonomy
from merit.evaluate.tasks import OFFICIAL_SPLIT, NotEnoughData, TaskData, select


def test_only_labelled_records_take_part_and_the_rest_is_counted(records: pd.DataFrame, task: TaskData) -> None:
    assert (len(task.rows), task.n_left_out) == (480, 120)
    assert task.labels.any(axis=1).all()
    assert task.classes == taxonomy.classes("superclass")
    assert task.cohort == "ptb-xl"
    for row, labels, fold, patient in zip(task.rows, task.labels, task.folds, task.patients):
        record = records.iloc[row]
        np.testing.assert_array_equal(labels, taxonomy.label_matrix("superclass", [record["labels"]])[0])
        assert (fold, patient) == (record["fold"], record["patient_id"])


def test_order_of_the_table_is_undone(records: pd.DataFrame, task: TaskData) -> None:
    order = np.random.default_rng(1).permutation(len(records))
    again = select("superclass", records.iloc[order])
    np.testing.assert_array_equal(order[again.rows], task.rows)
    np.testing.assert_array_equal(again.labels, task.labels)
    np.testing.assert_array_equal(again.patients, task.patients)


def test_patients_come_with_their_cohort_once(task: TaskData) -> None:
    pairs = task.scored_patients()
    assert len(pairs) == len(set(pairs)) == len(set(task.patients))
    assert pairs[0][0] == "ptb-xl"
    held_out = task.scored_patients(OFFICIAL_SPLIT)
    assert {patient for _, patient in held_out} == set(task.patients[task.folds >= 9])


def test_groups_are_patients_unless_the_store_has_others(records: pd.DataFrame, task: TaskData) -> None:
    np.testing.assert_array_equal(task.groups, task.patients)
    assert set(select("superclass", records.assign(group="g")).groups) == {"g"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.assign(labels=[["SR"]] * len(r)), "none of 600 records has one of its 5 labels"),
        (lambda r: r[r["fold"] != 6], r"hold no record here: \[6\]"),
        (lambda r: r.assign(fold=r["fold"].mask(r["fold"] == 3)), "30 of 480 labelled records have no fold"),
        (lambda r: r.iloc[:40], "no class has 2 positives and 2 negatives in train, validation and test of any fold"),
    ],
)
def test_what_is_missing_is_said_in_one_line(change: object, reason: str, records: pd.DataFrame) -> None:
    with pytest.raises(NotEnoughData, match=f"superclass: .*{reason}") as error:
        select("superclass", change(records))
    assert "\n" not in str(error.value)


def test_official_split_asks_for_its_own_folds(records: pd.DataFrame) -> None:
    without = records[records["fold"] != 6]
    assert len(select("superclass", without, protocol=OFFICIAL_SPLIT).rows) == 450


def test_unknown_task_is_refused_with_the_known_ones(records: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"superklass.*superclass"):
        select("superklass", records)


def test_ptb_xl_tasks_have_their_published_sizes() -> None:
    root = os.environ.get("MERIT_REAL_DATA")
    if not root:
        pytest.skip("MERIT_REAL_DATA is not set")
    table = pd.read_csv(
        Path(root) / "ptb-xl" / "ptbxl_database.csv", usecols=["ecg_id", "patient_id", "scp_codes", "strat_fold"]
    )
    records = pd.DataFrame(
        {
            "record_id": table["ecg_id"].astype(str),
            "patient_id": table["patient_id"].astype(str),
            "fold": table["strat_fold"],
            "labels": [list(ast.literal_eval(codes)) for codes in table["scp_codes"]],
        }
    )
    sizes = {name: len(select(name, records).rows) for name in ("superclass", "subclass", "form", "rhythm", "all")}
    assert sizes == {"superclass": 21388, "subclass": 21388, "form": 8978, "rhythm": 21030, "all": 21799}
