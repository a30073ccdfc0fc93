from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from merit.evaluate import metrics


def drawn(n: int, n_classes: int, levels: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of falling prevalence and scores that know a little of them; `levels` distinct scores make ties."""
    generator = np.random.default_rng(seed)
    labels = generator.random((n, n_classes)) < np.linspace(0.6, 0.1, n_classes)
    labels[:2], labels[2:4] = True, False
    scores = generator.normal(size=labels.shape) + labels
    return labels, scores if levels is None else np.round(scores * levels / 8)


def slow_auroc(label: np.ndarray, score: np.ndarray) -> float:
    wins = 0.0
    for p in score[label]:
        for n in score[~label]:
            wins += 1.0 if p > n else 0.5 if p == n else 0.0
    return wins / (label.sum() * (~label).sum())


def slow_average_precision(label: np.ndarray, score: np.ndarray) -> float:
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        hits = sum(1 for y, s in zip(label, score) if y and s >= threshold)
        called = sum(1 for s in score if s >= threshold)
        recall = hits / label.sum()
        total += (recall - recall_before) * hits / called
        recall_before = recall
    return total


@pytest.mark.parametrize("levels", [None, 8, 2])
def test_ranking_metrics_equal_plain_loops_and_scikit_learn(levels: int | None) -> None:
    labels, scores = drawn(90, 6, levels, seed=1)
    auroc, precision = metrics.auroc(labels, scores), metrics.average_precision(labels, scores)
    for c in range(labels.shape[1]):
        y, s = labels[:, c], scores[:, c]
        assert auroc[c] == pytest.approx(slow_auroc(y, s), abs=1e-12)
        assert auroc[c] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert precision[c] == pytest.approx(slow_average_precision(y, s), abs=1e-12)
        assert precision[c] == pytest.approx(average_precision_score(y, s), abs=1e-12)


def test_f1_and_accuracy_equal_scikit_learn() -> None:
    labels, scores = drawn(80, 5, None, seed=2)
    predicted = scores > 0.5
    for c in range(labels.shape[1]):
        assert metrics.f1(labels, predicted)[c] == pytest.approx(f1_score(labels[:, c], predicted[:, c]))
        assert metrics.accuracy(labels, predicted)[c] == pytest.approx(accuracy_score(labels[:, c], predicted[:, c]))


def test_constant_scores_say_nothing() -> None:
    labels, _ = drawn(60, 3, None, seed=3)
    flat = np.full(labels.shape, 0.3)
    np.testing.assert_allclose(metrics.auroc(labels, flat), 0.5)
    np.testing.assert_allclose(metrics.average_precision(labels, flat), labels.mean(axis=0))


def test_negated_scores_mirror_the_auroc() -> None:
    labels, scores = drawn(70, 4, 8, seed=4)
    np.testing.assert_allclose(metrics.auroc(labels, scores), 1 - metrics.auroc(labels, -scores), atol=1e-15)


def test_order_of_records_changes_no_bit() -> None:
    labels, scores = drawn(70, 4, 8, seed=5)
    order = np.random.default_rng(0).permutation(70)
    for metric in (metrics.auroc, metrics.average_precision):
        np.testing.assert_array_equal(metric(labels, scores), metric(labels[order], scores[order]))


def test_one_sided_classes_have_no_value() -> None:
    labels = np.array([[True, False], [True, False], [True, False]])
    scores = np.random.default_rng(0).normal(size=(3, 2))
    assert np.isnan(metrics.auroc(labels, scores)).all()
    assert metrics.average_precision(labels, scores)[0] == 1.0
    assert np.isnan(metrics.average_precision(labels, scores)[1])
    assert np.isnan(metrics.f1(labels, np.zeros_like(labels)))[1]


def test_nan_scores_are_refused_with_count_and_place() -> None:
    labels, scores = drawn(20, 3, None, seed=6)
    scores[7, 1] = scores[9, 2] = np.nan
    with pytest.raises(ValueError, match=r"2 of 60 scores are NaN, first in record 7, class 1") as error:
        metrics.auroc(labels, scores)
    assert "\n" not in str(error.value)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(4, 3\)"):
        metrics.auroc(np.zeros((4, 2), dtype=bool), np.zeros((4, 3)))


def test_macro_is_the_mean_over_scored_classes_alone() -> None:
    values, scored = np.array([0.2, np.nan, 0.6]), np.array([True, False, True])
    assert metrics.macro(values, scored) == pytest.approx(0.4)
    assert np.isnan(metrics.macro(values, np.zeros(3, dtype=bool)))
