"""InfoNCE under its ceiling: the best critic is the ratio of densities, the loss is that of pretraining."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from merit.evaluate.bounds import contrastive
from merit.evaluate.information.known import known_pairs


def slow_bound(scores: np.ndarray) -> float:
    """log B less the mean of both directions' cross-entropy, element by element."""
    size, total = len(scores), 0.0
    for i in range(size):
        for row in (scores[i], scores[:, i]):
            total -= np.log(np.exp(scores[i, i]) / sum(np.exp(row[j]) for j in range(size)))
    return np.log(size) - total / (2 * size)


def test_the_best_critic_is_the_log_ratio_of_densities():
    rho = 0.6
    x, y = known_pairs("gaussian", 2, -np.log(1 - rho**2), 7, 0)
    joint = multivariate_normal([0, 0], [[1, rho], [rho, 1]])
    single = multivariate_normal(0, 1)
    ratio = np.array([
        [sum(joint.logpdf([a, b]) - single.logpdf(a) - single.logpdf(b) for a, b in zip(one, other)) for other in y]
        for one in x
    ])  # fmt: skip
    left, right, temperature = contrastive.best_critic(x, y, rho)
    lengths = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    np.testing.assert_allclose(lengths, lengths[0][0])
    scores = (left @ right.T).numpy() / lengths[0][0] ** 2 / temperature
    np.testing.assert_allclose(scores - scores[0, 0], ratio - ratio[0, 0], atol=1e-9)
    found = contrastive.bound(x, y, lambda a, b: contrastive.best_critic(a, b, rho), 7, most=1)
    assert found == pytest.approx(slow_bound(ratio))


def test_the_cosine_critic_is_the_cosine_and_batches_are_averaged():
    x, y = known_pairs("gaussian", 3, 1.0, 9, 0)

    def cosines(rows: slice) -> np.ndarray:
        a, b = (side[rows] / np.linalg.norm(side[rows], axis=1, keepdims=True) for side in (x, y))
        return a @ b.T / 0.2

    slow = np.mean([slow_bound(cosines(slice(0, 4))), slow_bound(cosines(slice(4, 8)))])
    assert contrastive.bound(x, y, contrastive.cosine_critic(0.2), 4, most=5) == pytest.approx(slow)
    one = contrastive.bound(x, y, contrastive.cosine_critic(0.2), 4, most=1)
    assert one == pytest.approx(slow_bound(cosines(slice(0, 4))))


def test_nothing_passes_the_ceiling_and_the_best_critic_comes_near_the_truth():
    rows = contrastive.against_truth(4, [0.5, 6.0], [2, 128], 0.07, seeds=2, most=2)
    assert len(rows) == 2 * 3 * 2
    assert all(row["largest"] <= row["ceiling"] for row in rows)
    by = {(row["truth"], row["critic"], row["batch"]): row["value"] for row in rows}
    assert by[0.5, "best", 128] == pytest.approx(0.5, abs=0.15)
    assert np.log(128) - 1 < by[6.0, "best", 128] < np.log(128)
    assert by[0.5, "model", 128] < by[0.5, "tuned", 128] <= by[0.5, "best", 128]


def test_repeated_reports_lower_the_ceiling_by_the_log_of_their_number():
    (row,) = contrastive.report_ceilings(["a"] * 3 + ["b"], [4, 8], draws=2, seed=0)
    assert row["batch"] == 4
    assert row["value"] == pytest.approx(np.log(4) - 0.75 * np.log(3))
    (alone,) = contrastive.report_ceilings(list("abcd"), [4], draws=2, seed=0)
    assert alone["value"] == alone["ceiling"] == pytest.approx(np.log(4))


def test_the_interval_of_what_is_left_holds_its_mean_where_few_batches_repeat_a_report():
    """Of 200 batches of 2 few hold the one repeated pair: the middle 95 % of them would be the ceiling alone."""
    reports = ["a"] * 12 + [str(k) for k in range(88)]
    rows = contrastive.report_ceilings(reports, [2, 4, 64], draws=200, seed=0)
    assert rows[0]["value"] < rows[0]["ceiling"]
    assert all(row["low"] < row["value"] < row["high"] <= row["ceiling"] for row in rows)
    expected = np.log(2) * (1 - 12 * 11 / (100 * 99))  # a batch of two equal reports is left with nothing
    assert rows[0]["low"] < expected < rows[0]["high"]


def test_no_embedding_passes_what_repeated_reports_leave():
    """Reports a a b: their best possible loss, rows of a shared and b alone, is that of the ceiling."""
    big = 50.0
    scores = np.array([[big, big, 0], [big, big, 0], [0, 0, big]])
    (row,) = contrastive.report_ceilings(["a", "a", "b"], [3], draws=1, seed=0)
    assert slow_bound(scores) == pytest.approx(row["value"])
