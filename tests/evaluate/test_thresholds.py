from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_curve

from merit.evaluate import metrics, thresholds


def published(label: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """The literature's rule, from scikit-learn's curve: best F1 over thresholds, accuracy strictly above the best."""
    precision, recall, cuts = precision_recall_curve(label, score)
    f1 = np.array([2 * r * p / (r + p) if r + p else 0.0 for p, r in zip(precision, recall)])
    return f1.max(), accuracy_score(label, score > cuts[f1.argmax()])


def slow_best_f1(label: np.ndarray, score: np.ndarray) -> tuple[float, list[float]]:
    """Best F1 and every threshold that reaches it, trying all."""
    found = {}
    for cut in set(score):
        hits = sum(1 for y, s in zip(label, score) if y and s >= cut)
        wrong = sum(1 for y, s in zip(label, score) if bool(y) != (s >= cut))
        found[cut] = 2 * hits / (2 * hits + wrong)
    best = max(found.values())
    return best, [cut for cut, value in found.items() if value == pytest.approx(best, abs=1e-12)]


def drawn(seed: int, levels: int | None) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.random((60, 5)) < np.linspace(0.5, 0.1, 5)
    labels[:2], labels[2:4] = True, False
    scores = generator.normal(size=labels.shape) + labels
    return labels, scores if levels is None else np.round(scores * levels)


@pytest.mark.parametrize("levels", [None, 3, 1])
@pytest.mark.parametrize("seed", range(8))
def test_oracle_rule_is_the_published_one_bit_for_bit(seed: int, levels: int | None) -> None:
    labels, scores = drawn(seed, levels)
    f1, accuracy = thresholds.oracle(labels, scores)
    expected = [published(labels[:, c], scores[:, c]) for c in range(5)]
    np.testing.assert_array_equal(f1, [e[0] for e in expected])
    np.testing.assert_array_equal(accuracy, [e[1] for e in expected])


@pytest.mark.parametrize("levels", [None, 2])
def test_best_threshold_equals_a_search_over_all(levels: int | None) -> None:
    labels, scores = drawn(3, levels)
    f1, threshold = thresholds.best_f1(labels, scores)
    for c in range(5):
        best, reached_at = slow_best_f1(labels[:, c], scores[:, c])
        assert f1[c] == pytest.approx(best)
        assert threshold[c] in reached_at
    np.testing.assert_allclose(metrics.f1(labels, thresholds.predict(scores, threshold)), f1)


def test_published_accuracy_loses_the_record_at_the_threshold() -> None:
    labels, scores = np.array([[True], [False], [False]]), np.array([[3.0], [2.0], [1.0]])
    f1, accuracy = thresholds.oracle(labels, scores)
    assert f1[0] == 1.0
    assert accuracy[0] == pytest.approx(2 / 3)
    _, threshold = thresholds.best_f1(labels, scores)
    assert metrics.accuracy(labels, thresholds.predict(scores, threshold))[0] == 1.0


def test_lowest_of_tied_thresholds_is_taken() -> None:
    # At 3: one hit, none wrong, two missed; at 1: all three and four wrong. Both F1 are exactly 1/2 and 3/5.
    labels, scores = np.array([[1], [0], [1]], dtype=bool), np.array([[3.0], [2.0], [1.0]])
    assert thresholds.best_f1(labels, scores)[1][0] == 1.0
    labels, scores = np.array([[1], [0], [0], [1], [0]], dtype=bool), np.array([[5.0], [4.0], [3.0], [2.0], [1.0]])
    assert thresholds.best_f1(labels, scores)[0][0] == pytest.approx(2 / 3)
    assert thresholds.best_f1(labels, scores)[1][0] in (2.0, 5.0)
    assert thresholds.best_f1(labels, scores)[1][0] == 2.0


def test_without_positives_nothing_is_predicted() -> None:
    labels, scores = np.zeros((4, 1), dtype=bool), np.arange(4.0)[:, None]
    f1, threshold = thresholds.best_f1(labels, scores)
    assert np.isnan(f1[0])
    assert not thresholds.predict(scores, threshold).any()


def test_constant_scores_predict_everything() -> None:
    labels, scores = np.array([[True], [False], [False], [False]]), np.full((4, 1), 0.2)
    f1, accuracy = thresholds.oracle(labels, scores)
    assert f1[0] == pytest.approx(2 / 5)
    assert accuracy[0] == pytest.approx(3 / 4)  # ">" predicts nothing where ">=" predicted everything


def test_float32_scores_compare_with_their_own_threshold() -> None:
    labels, scores = drawn(1, None)
    scores = scores.astype(np.float32)
    _, threshold = thresholds.best_f1(labels, scores)
    np.testing.assert_array_equal(
        (thresholds.predict(scores, threshold)).sum(axis=0),
        [(scores[:, c] >= np.float32(threshold[c])).sum() for c in range(5)],
    )
