"""Folds and groups of a store, the classes of each task, and a batch's texts in groups of similar length."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest
import torch

from merit.data import taxonomy
from merit.data.batches import TokenStates, grouped
from merit.data.store import assign_folds, groups


def test_groups_join_patients_and_identical_signals_transitively():
    assert groups(["a", "b", "c", "a", "d"], ["1", "2", "3", "2", "3"]) == ["a", "a", "c", "a", "c"]
    assert groups(["a", "a", "b"], ["1", "2", "3"]) == ["a", "a", "b"]
    assert groups([], []) == []


def test_folds_are_stratified_whole_and_repeatable():
    rng, shares = np.random.default_rng(0), {"common": 0.5, "some": 0.2, "few": 0.05}
    labels = [{name for name, share in shares.items() if rng.random() < share} for _ in range(400)]
    names = [f"p{row // 2}" for row in range(400)]
    assigned = assign_folds(names, labels)
    assert sorted(set(assigned)) == list(range(1, 11))
    assert all(len(set(assigned[np.array(names) == name])) == 1 for name in set(names))
    for label, slack in (("common", 3), ("some", 2), ("few", 2)):
        units = {(name, fold) for name, fold, row in zip(names, assigned, labels) if label in row}
        counts = np.bincount([fold for _, fold in units], minlength=11)[1:]
        assert counts.max() - counts.min() <= slack, label
    assert np.array_equal(assigned, assign_folds(names, labels))
    assert not np.array_equal(assigned, assign_folds(names, labels, seed=1))


def test_few_records_rare_labels_and_none_do_not_fail():
    for n in (0, 1, 5, 11):
        assigned = assign_folds([str(i) for i in range(n)], [{"rare"} if i == 0 else {"a", "b"} for i in range(n)])
        assert len(assigned) == n
        assert set(assigned) <= set(range(1, 11))
    without = assign_folds([str(i) for i in range(100)], [set()] * 100)
    assert np.bincount(without)[1:].tolist() == [10] * 10, "dealt out evenly"


# -- the classes of each task -----------------------------------------------------------------------------------------

COUNTS = {"superclass": 5, "subclass": 23, "form": 19, "rhythm": 12, "all": 71, "cpsc2018": 9, "csn": 38}


def test_the_classes_of_each_task_are_the_published_ones_in_the_usual_order():
    names = {task: taxonomy.classes(task) for task in COUNTS}
    assert {task: len(set(of_task)) for task, of_task in names.items()} == COUNTS
    assert {task: len(of_task) for task, of_task in names.items()} == COUNTS
    assert names["superclass"] == ("NORM", "MI", "STTC", "CD", "HYP")
    assert names["cpsc2018"][:3] == ("NORM", "AFIB", "1AVB")
    assert names["csn"] == taxonomy.classes("csn_as_released")
    with pytest.raises(ValueError, match="unknown task 'forms'"):
        taxonomy.classes("forms")


def test_codes_become_classes_and_unknown_ones_are_ignored():
    matrix = taxonomy.label_matrix("superclass", [{"ASMI", "LVH", "SR"}, {"SR"}, {"no such code"}])
    assert (matrix.dtype, matrix.tolist()) == (bool, [[False, True, False, False, True], [False] * 5, [False] * 5])
    for task, expected in (("csn_as_released", ["ST", "VB", "1AVB", "AVB", "STDD"]), ("csn", ["1AVB", "STDD"])):
        row = taxonomy.label_matrix(task, [{"1AVB", "STDD"}])[0]  # the released rule finds acronyms inside others
        assert [name for name, on in zip(taxonomy.classes(task), row) if on] == expected


def test_tables_agree_with_the_publishers(real_data):
    theirs = pd.read_csv(real_data / "ptb-xl/scp_statements.csv", index_col=0)
    ours = taxonomy.statements().set_index("code")
    assert set(ours.index) == set(theirs.index)
    theirs = theirs.loc[ours.index]
    for flag in ("diagnostic", "form", "rhythm"):
        assert (ours[flag] == theirs[flag].eq(1)).all(), flag
    assert (ours["superclass"] == theirs["diagnostic_class"].fillna("")).all()
    assert (ours["subclass"] == theirs["diagnostic_subclass"].fillna("")).all()
    theirs = pd.read_csv(real_data / "csn/ConditionNames_SNOMED-CT.csv", encoding="utf-8-sig", dtype=str)
    first = theirs.drop_duplicates("Snomed_CT").set_index("Snomed_CT")["AcronymName"].str.strip()
    assert taxonomy.csn_conditions().set_index("snomed")["label"].to_dict() == first.to_dict()


def test_ptb_xl_counts_are_the_literatures(real_data):
    rows = pd.read_csv(real_data / "ptb-xl/ptbxl_database.csv", usecols=["scp_codes"])
    labels = [set(ast.literal_eval(text)) for text in rows["scp_codes"]]
    for task, positive in {"superclass": 21388, "subclass": 21388, "form": 8978, "rhythm": 21030}.items():
        assert int(taxonomy.label_matrix(task, labels).any(axis=1).sum()) == positive, task


def test_both_csn_label_sets_against_the_released_columns(real_data):
    folder = real_data / "merl-splits/finetune/data_split/chapman"
    rows = pd.concat([pd.read_csv(folder / f"chapman_{part}.csv") for part in ("train", "val", "test")])
    names = list(taxonomy.classes("csn"))
    labels = [text.split(",") for text in rows["diagnose"]]
    released, corrected = (taxonomy.label_matrix(task, labels) for task in ("csn_as_released", "csn"))
    assert np.array_equal(released, rows[names].to_numpy(bool))
    assert int((released != corrected).any(axis=1).sum()) == 3817
    vb = names.index("VB")
    assert (int(released[:, vb].sum()), int(corrected[:, vb].sum())) == (916, 3)


# -- the texts of a batch ---------------------------------------------------------------------------------------------

LENGTH = np.array([5, 2, 9, 2, 7, 3, 12, 1])


@pytest.mark.parametrize("n_groups", [1, 2, 4, 20])
def test_every_recording_finds_its_own_tokens_and_padding_is_never_read(n_groups):
    states = torch.arange(float(LENGTH.sum()))[:, None] + torch.tensor([[0.0, 0.5]])  # tokens are numbered through
    tokens = TokenStates(states, np.concatenate([[0], LENGTH.cumsum()]), {}, {})
    rows = np.array([6, 0, 0, 7, 3, 6, 4])
    words = tokens.take(rows, torch.device("cpu"), n_groups)
    texts = [(states, real) for group in words.groups for states, real in zip(*group)]
    assert len(texts) == len(set(rows))
    for row, place in zip(rows, words.place):
        states, real = texts[place]
        assert torch.equal(states[real], tokens.states[tokens.start[row] : tokens.start[row + 1]])
        assert real.tolist() == sorted(real.tolist(), reverse=True)
        assert states.isfinite().all()


@pytest.mark.parametrize(("n_groups", "computed"), [(1, 8 * 12), (4, 2 * (2 + 3 + 7 + 12)), (8, LENGTH.sum())])
def test_groups_are_by_length_and_more_of_them_pad_less(n_groups, computed):
    rows = np.random.default_rng(0).permutation(8)
    parts, place = grouped(rows, LENGTH, n_groups)
    assert sum(len(part) * LENGTH[part].max() for part in parts) == computed
    assert np.concatenate(parts)[place].tolist() == rows.tolist()
    if n_groups == 4:
        assert [part.tolist() for part in parts] == [[7, 1], [3, 5], [0, 4], [2, 6]]
