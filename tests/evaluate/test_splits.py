from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.tasks import OFFICIAL_SPLIT, NotEnoughData, Split, make_splits, scored_classes

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
