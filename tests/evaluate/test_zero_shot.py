"""Zero-shot values against slow oracles, at ties, with one class, with one fold, and under both scopes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from merit.evaluate import zero_shot as z
from merit.evaluate.tasks import NotEnoughData, TaskData, labelled, select


def made(labels: np.ndarray, folds: list[int] | None = None, patients: list[str] | None = None) -> TaskData:
    """A task of these labels; a patient a record, folds 1 to 10 in turn."""
    n = len(labels)
    names = np.array(patients or [f"p{i}" for i in range(n)], dtype=object)
    return TaskData(
        task="form", cohort="ptb-xl", classes=tuple("ABCDE"[: labels.shape[1]]), rows=np.arange(n), labels=labels,
        folds=np.array(folds or [i % 10 + 1 for i in range(n)]), patients=names, groups=names, n_left_out=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, TaskData]:
    """Scores on a coarse grid, so that there are ties, that know something of the labels; two records a patient."""
    generator = np.random.default_rng(0)
    labels = generator.random((120, 3)) < [0.5, 0.2, 0.06]
    scores = np.round(labels + generator.normal(size=labels.shape), 1)
    return scores, made(labels, patients=[f"p{i // 2}" for i in range(120)])


def slow_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    return float(np.mean(pairs))


def slow_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return 2 * sum(labels & predicted) / (sum(labels) + sum(predicted))


def slow_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The lowest of the thresholds with the best F1."""
    tried = sorted(set(scores))
    values = [slow_f1(labels, scores >= t) for t in tried]
    return tried[int(np.flatnonzero(np.isclose(values, max(values)))[0])]


def test_class_vectors_are_means_of_unit_phrasings():
    texts = np.array([[3.0, 4.0], [0.0, 2.0], [-5.0, 0.0]])
    owner = np.array([0, 0, 1])
    mean = np.array([0.6 + 0.0, 0.8 + 1.0]) / 2
    expected = [mean / np.hypot(*mean), [-1.0, 0.0]]
    np.testing.assert_allclose(z.class_vectors(texts, owner), expected)
    np.testing.assert_allclose(z.class_vectors(texts, owner, ensemble=False), [[0.6, 0.8], [-1.0, 0.0]])


def test_one_phrasing_is_the_same_alone_or_as_an_ensemble():
    texts = np.random.default_rng(0).normal(size=(4, 8))
    np.testing.assert_allclose(*(z.class_vectors(texts, np.arange(4), ensemble) for ensemble in (True, False)))


def test_cosines_equal_loops_and_do_not_know_lengths():
    generator = np.random.default_rng(1)
    ecg, texts = generator.normal(size=(5, 4)), z.class_vectors(generator.normal(size=(3, 4)), np.arange(3))
    slow = [[sum(a * b) / np.sqrt(sum(a * a)) / np.sqrt(sum(b * b)) for b in texts] for a in ecg]
    np.testing.assert_allclose(z.cosines(ecg, texts), slow)
    np.testing.assert_allclose(z.cosines(7 * ecg, texts), slow)


def test_what_has_no_direction_is_refused():
    with pytest.raises(ValueError, match="row 1 is none"):
        z.cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.eye(2))
    with pytest.raises(ValueError, match="row 0 is none"):
        z.class_vectors(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0, 0]))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 2\)"):
        z.cosines(np.ones((2, 3)), np.eye(2))


def test_values_equal_slow_oracles(drawn):
    scores, task = drawn
    found = z.evaluate(scores, task, n_resamples=0)
    columns = range(3)
    assert found["n_scored_classes"] == 3
    auroc = [slow_auroc(task.labels[:, c], scores[:, c]) for c in columns]
    assert found["macro"]["auroc"]["value"] == pytest.approx(np.mean(auroc))
    np.testing.assert_allclose([one["auroc"] for one in found["per_class"].values()], auroc)
    f1, accuracy, f1_oracle, accuracy_oracle = [], [], [], []
    for c in columns:
        y, s = task.labels[:, c], scores[:, c]
        predicted = np.zeros(len(y), dtype=bool)
        for fold in range(1, 11):
            own = task.folds == fold
            predicted[own] = s[own] >= slow_threshold(y[~own], s[~own])
        f1.append(slow_f1(y, predicted))
        accuracy.append(np.mean(predicted == y))
        threshold = slow_threshold(y, s)
        f1_oracle.append(slow_f1(y, s >= threshold))
        accuracy_oracle.append(np.mean((s > threshold) == y))
    expected = {"f1": f1, "accuracy": accuracy, "f1_oracle": f1_oracle, "accuracy_oracle": accuracy_oracle}
    for name, values in expected.items():
        assert found["macro"][name]["value"] == pytest.approx(np.mean(values)), name


def test_the_oracle_has_seen_the_answers(drawn):
    macro = z.evaluate(*drawn, n_resamples=0)["macro"]
    assert macro["f1_oracle"]["value"] > macro["f1"]["value"]


def test_all_scores_tied_are_chance():
    labels = np.array([[True], [True], [False], [False], [False], [False]])
    found = z.evaluate(np.zeros((6, 1)), made(labels), n_resamples=0)["macro"]
    assert found["auroc"]["value"] == 0.5
    assert found["average_precision"]["value"] == pytest.approx(1 / 3)
    assert found["f1"]["value"] == pytest.approx(1 / 2)
    assert found["accuracy_oracle"]["value"] == pytest.approx(2 / 3), "the published rule loses the record at t"


def test_classes_without_two_on_each_side_are_named_and_left_out(drawn):
    scores, task = drawn
    labels = np.column_stack([task.labels, np.zeros(120, bool), np.arange(120) > 0])
    found = z.evaluate(np.column_stack([scores, scores[:, :2]]), made(labels), n_resamples=0)
    assert found["unscored"] == ["D", "E"]
    assert found["per_class"]["E"] == {"n_positive": 119, "auroc": None, "average_precision": None, "f1_oracle": None}
    assert found["macro"]["auroc"]["value"] == pytest.approx(z.evaluate(*drawn)["macro"]["auroc"]["value"])
    with pytest.raises(NotEnoughData, match="no class has 2 positives and 2 negatives among 120 records"):
        z.evaluate(scores[:, :1], made(np.ones((120, 1), bool)))


def test_the_test_fold_alone_takes_thresholds_from_the_others(drawn):
    scores, task = drawn
    found = z.evaluate(scores[:, :1], made(task.labels[:, :1]), scope="test_fold", n_resamples=0)
    own = task.folds == 10
    y, s = task.labels[:, 0], scores[:, 0]
    predicted = s[own] >= slow_threshold(y[~own], s[~own])
    assert (found["n_records"], found["scope"]) == (12, "test_fold")
    assert found["macro"]["f1"]["value"] == pytest.approx(slow_f1(y[own], predicted))
    assert found["macro"]["auroc"]["value"] == pytest.approx(slow_auroc(y[own], s[own]))


def test_without_another_fold_there_is_no_honest_threshold(drawn):
    scores, task = drawn
    found = z.evaluate(scores, made(task.labels, folds=[10] * 120), scope="test_fold", n_resamples=20)
    for name in z.HONEST:
        assert found["macro"][name]["value"] is None
        assert "one fold" in found["macro"][name]["reason"]
        assert found["resamples"][name] == []
    assert found["macro"]["f1_oracle"]["value"] is not None
    with pytest.raises(NotEnoughData, match="none of 120 labelled records is in fold 10"):
        z.evaluate(scores, made(task.labels, folds=[9] * 120), scope="test_fold")


def test_intervals_are_of_patients_paired_and_repeatable(drawn):
    scores, task = drawn
    one, again = (z.evaluate(scores, task, n_resamples=50, seed=3) for _ in range(2))
    assert one == again
    same = z.evaluate(2 * scores + 1, task, n_resamples=50, seed=3)
    assert same["resamples"]["auroc"] == one["resamples"]["auroc"], "the same patients are drawn"
    auroc = one["macro"]["auroc"]
    assert auroc["low"] < auroc["value"] < auroc["high"]
    assert one["macro"]["f1_oracle"]["low"] is None
    assert one["n_patients"] == 60
    json.dumps(one, allow_nan=False)


def test_the_order_of_the_records_changes_nothing(drawn):
    scores, task = drawn
    turned = np.random.default_rng(5).permutation(120)
    other = TaskData(**{**task.__dict__, **{k: getattr(task, k)[turned] for k in ("labels", "folds", "patients")},
                        "groups": task.groups[turned]})  # fmt: skip
    assert z.evaluate(scores[turned], other, n_resamples=0) == z.evaluate(scores, task, n_resamples=0)


def test_an_unknown_scope_is_refused(drawn):
    with pytest.raises(ValueError, match="scope: expected one of unseen, test_fold; got 'all'"):
        z.evaluate(*drawn, scope="all")


def test_labelled_is_select_without_its_needs(records):
    ours, theirs = labelled("superclass", records), select("superclass", records)
    for name in ("rows", "labels", "folds", "patients", "groups"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.n_left_out == theirs.n_left_out
    few = labelled("superclass", records.iloc[:8])
    assert len(few.rows) == 6


def test_records_that_cannot_take_part_give_a_reason(records):
    with pytest.raises(NotEnoughData, match="none of 600 records"):
        labelled("csn", records.assign(labels=[["none"]] * 600))
    with pytest.raises(NotEnoughData, match="have no fold"):
        labelled("superclass", records.assign(fold=pd.array([pd.NA] * 600, dtype="Int64")))


def test_restricted_keeps_the_asked_for_records(drawn):
    _, task = drawn
    kept = np.isin(task.folds, (9, 10))
    part = z.restricted(task, kept, "in folds 9 and 10")
    assert set(part.folds) == {9, 10}
    assert (len(part.rows), part.n_left_out) == (24, 96)
    with pytest.raises(NotEnoughData, match="is in folds 9 and 10"):
        z.restricted(task, np.zeros(120, bool), "in folds 9 and 10")
