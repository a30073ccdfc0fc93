from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit.data import taxonomy
from merit.evaluate.tasks import (
    MERL_FOLDER,
    MERL_FOLDS,
    MERL_NAMES,
    OFFICIAL_SPLIT,
    NotEnoughData,
    SeenInPretraining,
    Split,
    TaskData,
    make_splits,
    merl_files,
    merl_folds,
    refuse_seen,
    scored_classes,
    select,
)

FOLDS = np.tile(np.arange(1, 11), 3)


def test_ten_folds_rotate_and_every_record_is_tested_once() -> None:
    splits = make_splits(FOLDS)
    assert [s.fold for s in splits] == list(range(1, 11))
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(30))
    for s in splits:
        assert set(FOLDS[s.test]) == {s.fold}
        assert set(FOLDS[s.validation]) == {s.fold + 1 if s.fold < 10 else 1}
        assert set(FOLDS[s.train]) == set(range(1, 11)) - set(FOLDS[s.test]) - set(FOLDS[s.validation])
        assert len(s.train) + len(s.validation) + len(s.test) == 30


def test_official_split_trains_on_one_to_eight() -> None:
    (split,) = make_splits(FOLDS, OFFICIAL_SPLIT)
    assert (set(FOLDS[split.train]), set(FOLDS[split.validation]), set(FOLDS[split.test])) == (
        set(range(1, 9)),
        {9},
        {10},
    )


def test_official_split_needs_no_particular_training_fold() -> None:
    make_splits(np.array([3, 9, 10]), OFFICIAL_SPLIT)
    with pytest.raises(NotEnoughData, match=r"\[10\]"):
        make_splits(np.array([3, 9]), OFFICIAL_SPLIT)
    with pytest.raises(NotEnoughData, match="8 stands for 1 to 8"):
        make_splits(np.array([9, 10]), OFFICIAL_SPLIT)


def test_empty_folds_are_named() -> None:
    with pytest.raises(NotEnoughData, match=r"\[4, 10\] \(24 records"):
        make_splits(FOLDS[(FOLDS != 4) & (FOLDS != 10)])


def test_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="five folds"):
        make_splits(FOLDS, "five folds")


def test_a_class_needs_two_of_each_kind_in_every_part() -> None:
    split = Split(1, np.arange(0, 5), np.arange(5, 10), np.arange(10, 15))
    labels = np.zeros((15, 5), dtype=bool)
    for part in (0, 5, 10):
        labels[part : part + 2, :] = True
    labels[1, 0] = labels[6, 1] = labels[11, 2] = False  # one positive left in train, validation, test
    labels[10:14, 3] = True  # one negative left in test
    assert scored_classes(labels, split).tolist() == [False, False, False, False, True]
    assert scored_classes(labels, split, min_positives=1).all()


# -- tasks -------------------------------------------------------------------------------------------------------------


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


def test_ptb_xl_tasks_have_their_published_sizes(real_data: Path) -> None:
    columns = ["ecg_id", "patient_id", "scp_codes", "strat_fold"]
    table = pd.read_csv(real_data / "ptb-xl" / "ptbxl_database.csv", usecols=columns)
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


# -- MERL's splits -----------------------------------------------------------------------------------------------------


def written(data: Path, cohort: str = "csn") -> dict[str, Path]:
    name, column = MERL_NAMES[cohort]
    folder = data / MERL_FOLDER / name
    folder.mkdir(parents=True)
    for k, part in enumerate(MERL_FOLDS):
        (folder / f"{name}_{part}.csv").write_text(f"{column},age\n/chapman/WFDBRecords/01/010/JS0000{k}.mat,12\n")
    return merl_files(data, cohort)


def test_recordings_get_the_fold_of_their_list(tmp_path: Path) -> None:
    lists = written(tmp_path)
    folds = merl_folds(lists, "csn", ["JS00002", "JS00000", "JS00009", "JS00001"])
    assert folds.tolist() == [10, 1, 0, 9]


def test_nothing_is_found_where_a_list_is_missing(tmp_path: Path) -> None:
    assert merl_files(None, "csn") == {}
    assert merl_files(tmp_path, "csn") == {}
    lists = written(tmp_path)
    assert merl_files(tmp_path, "ptb-xl") == {}
    lists["val"].unlink()
    assert merl_files(tmp_path, "csn") == {}


def test_a_list_without_names_is_refused_in_one_line(tmp_path: Path) -> None:
    lists = written(tmp_path, "cpsc2018")
    lists["test"].write_text("name,age\nA1,3\n")
    with pytest.raises(ValueError, match=r"icbeb_test.csv: expected the column filename; got name, age"):
        merl_folds(lists, "cpsc2018", ["A1"])


def test_merls_own_lists_cover_what_the_paper_counts(real_data: Path) -> None:
    for cohort, counts in {"cpsc2018": (4950, 551, 1376), "csn": (16546, 1860, 4620)}.items():
        lists = merl_files(real_data, cohort)
        if not lists:
            pytest.skip("no merl-splits in MERIT_REAL_DATA")
        assert tuple(len(path.read_text().splitlines()) - 1 for path in lists.values()) == counts


# -- patients seen in pretraining --------------------------------------------------------------------------------------


SEEN = pd.DataFrame(
    {"cohort": ["ptb-xl", "ptb-xl", "mimic-iv-ecg"], "patient_id": ["7", "7", "9"], "record_id": ["1", "2", "3"]}
)


def test_strangers_pass_and_ids_are_compared_within_a_cohort() -> None:
    assert refuse_seen([("ptb-xl", "8"), ("ptb-xl", "9")], SEEN) == 0


def test_a_seen_patient_is_refused_with_count_and_example() -> None:
    pairs = [("ptb-xl", "7"), ("ptb-xl", "7"), ("ptb-xl", "8")]
    with pytest.raises(SeenInPretraining, match=r"1 of 2 patients .* patient 7 of ptb-xl.*allow_seen=True") as error:
        refuse_seen(pairs, SEEN)
    assert "\n" not in str(error.value)


def test_allowed_patients_are_counted_once() -> None:
    assert refuse_seen([("ptb-xl", "7"), ("ptb-xl", "7"), ("mimic-iv-ecg", "9")], SEEN, allow_seen=True) == 2


def test_number_ids_meet_text_ids() -> None:
    assert refuse_seen([("ptb-xl", 7)], SEEN, allow_seen=True) == 1
