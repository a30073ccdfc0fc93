from __future__ import annotations

import numpy as np
import pytest

from merit.data.store import assign_folds, groups


def test_groups_join_patients_and_identical_signals_transitively():
    patients = ["a", "b", "c", "a", "d"]
    digests = ["1", "2", "3", "2", "3"]
    assert groups(patients, digests) == ["a", "a", "c", "a", "c"]
    assert groups(["a", "a", "b"], ["1", "2", "3"]) == ["a", "a", "b"]
    assert groups([], []) == []


def label_rows(n: int, seed: int = 0) -> list[set[str]]:
    rng = np.random.default_rng(seed)
    shares = {"common": 0.5, "some": 0.2, "few": 0.05}
    return [{name for name, share in shares.items() if rng.random() < share} for _ in range(n)]


def test_folds_are_stratified_whole_and_repeatable():
    labels = label_rows(400)
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


@pytest.mark.parametrize("n", [0, 1, 5, 11])
def test_few_records_and_rare_labels_do_not_fail(n):
    assigned = assign_folds([str(i) for i in range(n)], [{"rare"} if i == 0 else {"a", "b"} for i in range(n)])
    assert len(assigned) == n
    assert set(assigned) <= set(range(1, 11))


def test_without_labels_groups_are_dealt_out_evenly():
    assigned = assign_folds([str(i) for i in range(100)], [set()] * 100)
    assert np.bincount(assigned)[1:].tolist() == [10] * 10
