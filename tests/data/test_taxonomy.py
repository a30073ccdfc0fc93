from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest

from merit.data import taxonomy

COUNTS = {"superclass": 5, "subclass": 23, "form": 19, "rhythm": 12, "all": 71, "cpsc2018": 9, "csn": 38}


@pytest.mark.parametrize(("task", "count"), COUNTS.items())
def test_a_task_has_the_published_number_of_classes(task, count):
    names = taxonomy.classes(task)
    assert len(names) == len(set(names)) == count


def test_every_task_names_its_cohort_and_an_unknown_one_is_refused():
    assert set(taxonomy.TASKS) == set(taxonomy.TASK_COHORT)
    assert taxonomy.classes("csn") == taxonomy.classes("csn_as_released")
    with pytest.raises(ValueError, match="unknown task 'forms'"):
        taxonomy.classes("forms")


def test_superclasses_come_in_the_usual_order():
    assert taxonomy.classes("superclass") == ("NORM", "MI", "STTC", "CD", "HYP")
    assert taxonomy.classes("cpsc2018")[:3] == ("NORM", "AFIB", "1AVB")


def test_codes_become_classes_and_unknown_ones_are_ignored():
    matrix = taxonomy.label_matrix("superclass", [{"ASMI", "LVH", "SR"}, {"SR"}, {"no such code"}])
    assert matrix.dtype == bool
    assert matrix.tolist() == [[False, True, False, False, True], [False] * 5, [False] * 5]


def test_the_released_rule_finds_acronyms_inside_others():
    released = dict(zip(taxonomy.classes("csn"), taxonomy.label_matrix("csn_as_released", [{"1AVB", "STDD"}])[0]))
    corrected = dict(zip(taxonomy.classes("csn"), taxonomy.label_matrix("csn", [{"1AVB", "STDD"}])[0]))
    assert [name for name, on in released.items() if on] == ["ST", "VB", "1AVB", "AVB", "STDD"]
    assert [name for name, on in corrected.items() if on] == ["1AVB", "STDD"]


def test_statements_cannot_be_changed_from_outside():
    table = taxonomy.statements()
    table.loc[0, "superclass"] = "MI"
    assert taxonomy.statements().loc[0, "superclass"] == "NORM"


def test_snomed_codes_and_labels_are_unique():
    for table in (taxonomy.csn_conditions(), taxonomy.cpsc2018_classes()):
        assert table["snomed"].is_unique
        assert table["label"].is_unique


def test_ptb_xl_agrees_with_the_publishers_table(real_data):
    theirs = pd.read_csv(real_data / "ptb-xl/scp_statements.csv", index_col=0)
    ours = taxonomy.statements().set_index("code")
    assert set(ours.index) == set(theirs.index)
    theirs = theirs.loc[ours.index]
    for flag in ("diagnostic", "form", "rhythm"):
        assert (ours[flag] == theirs[flag].eq(1)).all(), flag
    assert (ours["superclass"] == theirs["diagnostic_class"].fillna("")).all()
    assert (ours["subclass"] == theirs["diagnostic_subclass"].fillna("")).all()


@pytest.mark.parametrize(
    ("task", "positive"), [("superclass", 21388), ("subclass", 21388), ("form", 8978), ("rhythm", 21030)]
)
def test_ptb_xl_counts_are_the_literatures(real_data, task, positive):
    rows = pd.read_csv(real_data / "ptb-xl/ptbxl_database.csv", usecols=["scp_codes"])
    labels = [set(ast.literal_eval(text)) for text in rows["scp_codes"]]
    assert int(taxonomy.label_matrix(task, labels).any(axis=1).sum()) == positive


def test_csn_conditions_agree_with_the_publishers_table(real_data):
    theirs = pd.read_csv(real_data / "csn/ConditionNames_SNOMED-CT.csv", encoding="utf-8-sig", dtype=str)
    first = theirs.drop_duplicates("Snomed_CT").set_index("Snomed_CT")["AcronymName"].str.strip()
    ours = taxonomy.csn_conditions().set_index("snomed")["label"]
    assert ours.to_dict() == first.to_dict()


def test_both_csn_label_sets_against_the_released_columns(real_data):
    folder = real_data / "merl-splits/finetune/data_split/chapman"
    rows = pd.concat([pd.read_csv(folder / f"chapman_{part}.csv") for part in ("train", "val", "test")])
    names = list(taxonomy.classes("csn"))
    labels = [text.split(",") for text in rows["diagnose"]]
    released = taxonomy.label_matrix("csn_as_released", labels)
    corrected = taxonomy.label_matrix("csn", labels)
    assert np.array_equal(released, rows[names].to_numpy(bool))
    assert int((released != corrected).any(axis=1).sum()) == 3817
    vb = names.index("VB")
    assert (int(released[:, vb].sum()), int(corrected[:, vb].sum())) == (916, 3)
