from __future__ import annotations

import ast
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit.data import taxonomy
from merit.evaluate import tasks
from merit.evaluate.tasks import OFFICIAL_SPLIT, NotEnoughData, TaskData, align, make_splits, read_table, select

FOLDS = np.tile(np.arange(1, 11), 3)


def test_ten_folds_rotate_and_every_record_is_tested_once_where_a_class_has_two_of_each_kind() -> None:
    splits = make_splits(FOLDS)
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(30))
    for k, s in enumerate(splits, 1):
        assert (s.fold, set(FOLDS[s.test]), set(FOLDS[s.validation])) == (k, {k}, {k % 10 + 1})
        assert set(FOLDS[s.train]) == set(range(1, 11)) - {k, k % 10 + 1}
        assert len(s.train) + len(s.validation) + len(s.test) == 30
    split = tasks.Split(1, np.arange(0, 5), np.arange(5, 10), np.arange(10, 15))
    labels = np.zeros((15, 5), dtype=bool)
    for part in (0, 5, 10):
        labels[part : part + 2, :] = True
    labels[1, 0] = labels[6, 1] = labels[11, 2] = False  # one positive left in train, validation, test
    labels[10:14, 3] = True  # one negative left in test
    assert tasks.scored_classes(labels, [split]).tolist() == [[False, False, False, False, True]]
    assert tasks.scored_classes(labels, [split], min_positives=1).all()


def test_held_out_protocols_need_no_particular_training_fold() -> None:
    early = set(range(1, 9))
    for protocol, turns in ((OFFICIAL_SPLIT, [(9, 10)]), (tasks.CROSS_FITTED, [(9, 10), (10, 9)])):
        parts = [[set(FOLDS[rows]) for rows in (s.train, s.validation, s.test)] for s in make_splits(FOLDS, protocol)]
        assert parts == [[early, {validation}, {test}] for validation, test in turns]
    make_splits(np.array([3, 9, 10]), OFFICIAL_SPLIT)
    for folds, protocol, named in (
        ([3, 9], OFFICIAL_SPLIT, r"\[10\]"),
        ([9, 10], OFFICIAL_SPLIT, "8 stands for 1 to 8"),
        (FOLDS[(FOLDS != 4) & (FOLDS != 10)], "ten folds", r"\[4, 10\] \(24 records"),
    ):
        with pytest.raises(NotEnoughData, match=named):
            make_splits(np.array(folds), protocol)
    with pytest.raises(ValueError, match="folds: expected 5 in the records; got 10, whose records would be lost"):
        make_splits(FOLDS, n_folds=5)


def test_labelled_records_alone_take_part_in_whatever_order_of_the_table(records: pd.DataFrame, task: TaskData):
    assert (len(task.rows), task.n_left_out) == (480, 120)
    assert task.labels.any(axis=1).all()
    assert task.classes == taxonomy.classes("superclass")
    assert task.cohort == "ptb-xl"
    assert len(tasks.labelled("superclass", records.iloc[:8]).rows) == 6
    assert len(select("superclass", records[records["fold"] != 6], protocol=OFFICIAL_SPLIT).rows) == 450
    with pytest.raises(ValueError, match=r"superklass.*superclass"):
        select("superklass", records)
    for row, labels, fold, patient in zip(task.rows, task.labels, task.folds, task.patients):
        record = records.iloc[row]
        np.testing.assert_array_equal(labels, taxonomy.label_matrix("superclass", [record["labels"]])[0])
        assert (fold, patient) == (record["fold"], record["patient_id"])
    order = np.random.default_rng(1).permutation(len(records))
    again = select("superclass", records.iloc[order])
    assert (order[again.rows] == task.rows).all()
    assert (again.labels == task.labels).all()
    assert (again.patients == task.patients).all()
    assert (task.groups == task.patients).all()
    assert set(select("superclass", records.assign(group="g")).groups) == {"g"}
    pairs = task.scored_patients()
    assert len(pairs) == len(set(pairs)) == len(set(task.patients))
    held_out = task.scored_patients(OFFICIAL_SPLIT)
    assert set(held_out) == {("ptb-xl", patient) for patient in task.patients[task.folds >= 9]}


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


def test_real_tables_and_lists_have_their_published_sizes(real_data: Path):
    names = {"ecg_id": "record_id", "patient_id": "patient_id", "scp_codes": "labels", "strat_fold": "fold"}
    records = pd.read_csv(real_data / "ptb-xl" / "ptbxl_database.csv", usecols=list(names)).rename(columns=names)
    records["labels"] = [list(ast.literal_eval(codes)) for codes in records["labels"]]
    sizes = {name: len(select(name, records).rows) for name in ("superclass", "subclass", "form", "rhythm", "all")}
    assert sizes == {"superclass": 21388, "subclass": 21388, "form": 8978, "rhythm": 21030, "all": 21799}
    for cohort, counts in {"cpsc2018": (4950, 551, 1376), "csn": (16546, 1860, 4620)}.items():
        lists = tasks.merl_files(real_data, cohort)
        if not lists:
            pytest.skip("no merl-splits in MERIT_REAL_DATA")
        assert tuple(len(path.read_text().splitlines()) - 1 for path in lists.values()) == counts


def written(data: Path, cohort: str = "csn") -> dict[str, Path]:
    name, column = tasks.MERL_NAMES[cohort]
    folder = data / tasks.MERL_FOLDER / name
    folder.mkdir(parents=True)
    for k, part in enumerate(tasks.MERL_FOLDS):
        (folder / f"{name}_{part}.csv").write_text(f"{column},age\n/chapman/WFDBRecords/01/010/JS0000{k}.mat,12\n")
    return tasks.merl_files(data, cohort)


def test_lists_give_folds_and_one_without_names_is_refused(tmp_path: Path):
    lists = written(tmp_path)
    folds = tasks.merl_folds(lists, "csn", ["JS00002", "JS00000", "JS00009", "JS00001"])
    assert folds.tolist() == [10, 1, 0, 9]
    assert tasks.merl_files(None, "csn") == {}
    assert tasks.merl_files(tmp_path, "cpsc2018") == tasks.merl_files(tmp_path, "ptb-xl") == {}
    lists["val"].unlink()
    assert tasks.merl_files(tmp_path, "csn") == {}
    lists = written(tmp_path, "cpsc2018")
    lists["test"].write_text("name,age\nA1,3\n")
    with pytest.raises(ValueError, match=r"icbeb_test.csv: expected the column filename; got name, age"):
        tasks.merl_folds(lists, "cpsc2018", ["A1"])


SEEN = pd.DataFrame({"cohort": ["ptb-xl", "ptb-xl", "mimic-iv-ecg"], "patient_id": [*"779"], "record_id": [*"123"]})


def test_ids_are_compared_within_a_cohort_and_a_seen_patient_is_refused_with_count_and_example():
    assert tasks.refuse_seen([("ptb-xl", "8"), ("ptb-xl", "9")], SEEN) == 0
    assert tasks.refuse_seen([("ptb-xl", 7), ("ptb-xl", "7"), ("mimic-iv-ecg", "9")], SEEN, allow_seen=True) == 2
    pairs = [("ptb-xl", "7"), ("ptb-xl", "7"), ("ptb-xl", "8")]
    said = r"1 of 2 patients .* patient 7 of ptb-xl.*allow_seen=True"
    with pytest.raises(tasks.SeenInPretraining, match=said) as error:
        tasks.refuse_seen(pairs, SEEN)
    assert "\n" not in str(error.value)


PRINTED = {
    ("superclass", "cpsc2018"): {"HYP": "", "NORM": "NORM", "CD": "1AVB, CRBBB, CLBBB", "MI": "", "STTC": "STE, STD"},
    ("superclass", "csn"): {
        "HYP": "RVH, LVH", "NORM": "SR", "CD": "2AVB, 2AVB1, 1AVB, AVB, LBBB, RBBB, STDD", "MI": "MI",
        "STTC": "STTC, STE, TWO, STTU, QTIE, TWC",
    },
    ("cpsc2018", "csn"): {
        "AFIB": "AFIB", "VPC": "VPB", "NORM": "SR", "1AVB": "1AVB", "CRBBB": "RBBB", "STE": "STE", "PAC": "APB",
        "CLBBB": "LBBB", "STD": "STE, STTC, STTU, STDD",
    },
}  # fmt: skip
"""The paper's three blocks, typed from its text."""


def test_the_table_is_the_papers_and_each_direction_has_the_classes_of_the_coarser_side() -> None:
    table = read_table()
    found: dict[tuple[str, str], dict[str, str]] = {}
    for space, name, other, codes in table.itertuples(index=False):
        found.setdefault((space, other), {})[name] = ", ".join(codes.split())
    assert found == PRINTED
    assert [list(block) for block in found.values()] == [list(block) for block in PRINTED.values()]
    assert [len(align(*direction, table).source.merged) for direction in tasks.DIRECTIONS] == [3, 5, 3, 9, 5, 9]


@pytest.mark.parametrize(("source", "target"), tasks.DIRECTIONS)
def test_merges_equal_loops_over_records_and_classes(source: str, target: str) -> None:
    generator, alignment = np.random.default_rng(3), align(source, target, read_table())
    block = {n: c.split(", ") for n, c in PRINTED.get((source, target), PRINTED.get((target, source))).items() if c}
    alone = {name: [name] for name in block}
    stands = {source: alone, target: block} if (source, target) in PRINTED else {source: block, target: alone}
    assert list(alignment.source.merged) == list(alignment.target.merged) == list(block)
    known = {space: taxonomy.classes(space) for space in (source, target)}
    hand_made = [set(generator.choice(known[target], size=generator.integers(1, 4), replace=False)) for _ in range(60)]
    labels = np.array([[code in record for code in known[target]] for record in hand_made])
    scores = generator.integers(0, 5, size=(60, len(known[source]))).astype(np.float32)
    merged_labels = alignment.target.any_of(labels)
    merged_scores, reached = alignment.source.highest(scores, np.ones(len(known[source]), dtype=bool))
    assert reached.all()
    for (n, record), (k, name) in product(enumerate(hand_made), enumerate(block)):
        assert merged_labels[n, k] == any(code in record for code in stands[target][name])
        assert merged_scores[n, k] == max(scores[n, known[source].index(code)] for code in stands[source][name])
    for side in (alignment.source, alignment.target):
        assert set(side.dropped) == set(known[side.space]) - set().union(*stands[side.space].values())


def test_what_a_head_could_not_learn_takes_no_part_and_ste_of_csn_feeds_two_classes():
    side = align("csn", "superclass", read_table()).source
    scores = np.arange(2 * len(taxonomy.classes("csn")), dtype=np.float32).reshape(2, -1)
    usable = np.ones(len(taxonomy.classes("csn")), dtype=bool)
    usable[side.columns("MI") + side.columns("HYP")[:1]] = False
    merged, reached = side.highest(scores, usable)
    names = list(side.merged)
    assert [name for name, yes in zip(names, reached) if not yes] == ["MI"]
    np.testing.assert_array_equal(merged[:, names.index("HYP")], scores[:, side.columns("HYP")[1]])
    np.testing.assert_array_equal(merged[:, names.index("MI")], 0)
    (shared,) = tasks.shared_codes(read_table())
    assert (shared["space"], shared["code"], shared["classes"]) == ("cpsc2018", "STE", ["STE", "STD"])
    rows = {row["class"]: row for row in tasks.by_snomed(read_table())}
    assert {name for name, row in rows.items() if not row["agree"]} == {"STE", "STD"}
    assert rows["STE"]["same_code"] == ["STTU"]
    assert rows["STD"]["same_code"] == ["STDD"]


HEAD = "space,class,counterpart_space,counterpart_codes\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("space,class\nsuperclass,MI\n", "expected the columns space, class, .*; got space, class"),
        (HEAD + "superclas,MI,csn,MI\n", "line 2: space: expected one of superclass, cpsc2018, csn; got 'superclas'"),
        (HEAD + "superclass,MI,csn,MI\nsuperclass,HYP,csn,XYZ\n", "line 3: csn has no class 'XYZ'"),
        (HEAD + "superclass,IM,csn,MI\n", "line 2: superclass has no class 'IM'"),
        (HEAD + "superclass,MI,csn,MI\nsuperclass,MI,csn,AQW\n", "MI of superclass stands there twice"),
        (HEAD + "superclass,MI,csn,MI\ncsn,LVH,superclass,HYP\n", "one block for two spaces; superclass and csn"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, reason: str):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as error:
        read_table(path)
    assert "\n" not in str(error.value)
    assert "own.csv" in str(error.value)


def test_a_table_or_two_spaces_that_cannot_be_used_are_refused(tmp_path: Path):
    path = tmp_path / "own.csv"
    path.write_text(HEAD + "superclass,MI,csn,\nsuperclass,HYP,csn,\nsuperclass,CD,cpsc2018,1AVB\n")
    table = read_table(path)
    with pytest.raises(ValueError, match="csn and superclass have no class in common, so there is nothing to score"):
        align("csn", "superclass", table)
    with pytest.raises(ValueError, match=r"\(superclass and csn, superclass and cpsc2018\); got cpsc2018 and csn"):
        align("cpsc2018", "csn", table)
    with pytest.raises(ValueError, match="there is no file"):
        read_table(tmp_path / "none.csv")


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
