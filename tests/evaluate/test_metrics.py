"""Metrics and threshold rules against scikit-learn, loops over pairs and thresholds, and the published code."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as theirs

from merit.evaluate import metrics


def drawn(n: int, n_classes: int, levels: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of falling prevalence and scores that know a little of them; `levels` distinct scores make ties."""
    generator = np.random.default_rng(seed)
    labels = generator.random((n, n_classes)) < np.linspace(0.6, 0.1, n_classes)
    labels[:2], labels[2:4] = True, False
    scores = generator.normal(size=labels.shape) + labels
    return labels, scores if levels is None else np.round(scores * levels / 8)


def slow_auroc(label: np.ndarray, score: np.ndarray) -> float:
    wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p in score[label] for n in score[~label])
    return wins / (label.sum() * (~label).sum())


def slow_average_precision(label: np.ndarray, score: np.ndarray) -> float:
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        hits = sum(1 for y, s in zip(label, score) if y and s >= threshold)
        recall = hits / label.sum()
        total += (recall - recall_before) * hits / sum(1 for s in score if s >= threshold)
        recall_before = recall
    return total


@pytest.mark.parametrize("levels", [None, 8, 2])
def test_ranking_metrics_equal_plain_loops_and_scikit_learn(levels):
    labels, scores = drawn(90, 6, levels, seed=1)
    auroc, precision = metrics.auroc(labels, scores), metrics.average_precision(labels, scores)
    for c, (y, s) in enumerate(zip(labels.T, scores.T)):
        assert auroc[c] == pytest.approx(slow_auroc(y, s), abs=1e-12)
        assert auroc[c] == pytest.approx(theirs.roc_auc_score(y, s), abs=1e-12)
        assert precision[c] == pytest.approx(slow_average_precision(y, s), abs=1e-12)
        assert precision[c] == pytest.approx(theirs.average_precision_score(y, s), abs=1e-12)
    np.testing.assert_allclose(auroc, 1 - metrics.auroc(labels, -scores), atol=1e-15)
    order = np.random.default_rng(0).permutation(90)
    for metric in (metrics.auroc, metrics.average_precision):
        np.testing.assert_array_equal(metric(labels, scores), metric(labels[order], scores[order]))


def test_f1_accuracy_and_macro_and_what_says_nothing():
    labels, scores = drawn(80, 5, None, seed=2)
    predicted = scores > 0.5
    for c, (y, p) in enumerate(zip(labels.T, predicted.T)):
        assert metrics.f1(labels, predicted)[c] == pytest.approx(theirs.f1_score(y, p))
        assert metrics.accuracy(labels, predicted)[c] == pytest.approx(theirs.accuracy_score(y, p))
    values, scored = np.array([0.2, np.nan, 0.6]), np.array([True, False, True])
    assert metrics.macro(values, scored) == pytest.approx(0.4)
    assert np.isnan(metrics.macro(values, np.zeros(3, dtype=bool)))
    labels, _ = drawn(60, 3, None, seed=3)
    flat = np.full(labels.shape, 0.3)
    np.testing.assert_allclose(metrics.auroc(labels, flat), 0.5)
    np.testing.assert_allclose(metrics.average_precision(labels, flat), labels.mean(axis=0))
    labels = np.array([[True, False], [True, False], [True, False]])
    scores = np.random.default_rng(0).normal(size=(3, 2))
    assert np.isnan(metrics.auroc(labels, scores)).all()
    assert metrics.average_precision(labels, scores)[0] == 1.0
    assert np.isnan(metrics.average_precision(labels, scores)[1])
    assert np.isnan(metrics.f1(labels, np.zeros_like(labels)))[1]
    labels, scores = drawn(20, 3, None, seed=6)
    scores[7, 1] = scores[9, 2] = np.nan
    with pytest.raises(ValueError, match=r"2 of 60 scores are NaN, first in record 7, class 1") as error:
        metrics.auroc(labels, scores)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(4, 3\)"):
        metrics.auroc(np.zeros((4, 2), dtype=bool), np.zeros((4, 3)))


def published(label: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """The literature's rule, from scikit-learn's curve: best F1 over thresholds, accuracy strictly above the best."""
    precision, recall, cuts = theirs.precision_recall_curve(label, score)
    f1 = np.array([2 * r * p / (r + p) if r + p else 0.0 for p, r in zip(precision, recall)])
    return f1.max(), theirs.accuracy_score(label, score > cuts[f1.argmax()])


@pytest.mark.parametrize("levels", [None, 24, 8])
@pytest.mark.parametrize("seed", range(8))
def test_oracle_rule_is_the_published_one_bit_for_bit(seed, levels):
    labels, scores = drawn(60, 5, levels, seed)
    expected = [published(y, s) for y, s in zip(labels.T, scores.T)]
    np.testing.assert_array_equal(np.transpose(metrics.oracle(labels, scores)), expected)


@pytest.mark.parametrize("levels", [None, 16])
def test_best_threshold_equals_a_search_over_all(levels):
    labels, scores = drawn(60, 5, levels, 3)
    f1, threshold = metrics.best_f1(labels, scores)
    for c, (y, s) in enumerate(zip(labels.T, scores.T)):
        tried = {cut: metrics.f1(y[:, None], s[:, None] >= cut)[0] for cut in set(s)}
        assert f1[c] == pytest.approx(max(tried.values()))
        assert tried[threshold[c]] == pytest.approx(f1[c])
    np.testing.assert_allclose(metrics.f1(labels, scores >= threshold), f1)
    single = scores.astype(np.float32)  # compares with its own threshold
    _, threshold = metrics.best_f1(labels, single)
    np.testing.assert_array_equal(single >= threshold, single >= threshold.astype(np.float32))


@pytest.mark.parametrize(
    ("labels", "scores", "threshold", "f1", "accuracy"),
    [
        ([1, 0, 0], [3, 2, 1], 3, 1, 2 / 3),  # ">" loses the record at the threshold
        ([1, 0, 1], [3, 2, 1], 1, 4 / 5, 1 / 3),
        ([1, 0, 0, 1, 0], [5, 4, 3, 2, 1], 2, 2 / 3, 2 / 5),  # the lowest of tied thresholds, 5 and 2
        ([0, 0, 0], [3, 2, 1], np.inf, np.nan, 1),  # without positives nothing is predicted
        ([1, 0, 0, 0], [2, 2, 2, 2], 2, 2 / 5, 3 / 4),  # constant: ">" predicts nothing where ">=" predicted everything
    ],
)
def test_thresholds_by_hand(labels, scores, threshold, f1, accuracy):
    labels, scores = np.array(labels, dtype=bool)[:, None], np.array(scores, dtype=float)[:, None]
    assert metrics.best_f1(labels, scores)[1][0] == threshold
    np.testing.assert_allclose(np.ravel(metrics.oracle(labels, scores)), [f1, accuracy])
