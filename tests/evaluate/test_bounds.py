"""Bounds of the paper's Section 3 against densities, grids, loops and draws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from merit.evaluate import bounds
from merit.evaluate.information import known_pairs

COVARIANCE = np.array([[2.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 1.5]])
SIGNAL = bounds.Signal()


def test_entropy_and_information_have_closed_forms_and_no_unit():
    own = SIGNAL.covariance[np.ix_(SIGNAL.hidden, SIGNAL.hidden)]
    assert SIGNAL.hidden_entropy == pytest.approx(multivariate_normal(np.zeros(24), own).entropy())
    rho, grid = 0.7, np.linspace(-8, 8, 401)
    joint = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).pdf(np.dstack(np.meshgrid(grid, grid)))
    found = bounds.information(np.array([[1, rho], [rho, 1]]), np.array([0]), np.array([1]))
    assert found == pytest.approx(bounds.discrete_information(joint / joint.sum()), abs=1e-6)
    assert found == pytest.approx(-0.5 * np.log(1 - rho**2))
    unit, left, right = np.diag([10.0, 0.1, 3.0]), np.array([0]), np.array([1, 2])
    same = bounds.information(unit @ COVARIANCE @ unit, left, right)
    assert same == pytest.approx(bounds.information(COVARIANCE, left, right))
    joint = np.array([[0.3, 0.1, 0.0], [0.05, 0.25, 0.3]])
    cells = [(i, j) for i in range(2) for j in range(3) if joint[i, j] > 0]
    slow = sum(joint[c] * np.log(joint[c] / (joint[c[0]].sum() * joint[:, c[1]].sum())) for c in cells)
    assert bounds.discrete_information(joint) == pytest.approx(slow)
    assert bounds.discrete_information(np.eye(4) / 4) == pytest.approx(np.log(4))


def slow_bound(scores: np.ndarray) -> float:
    """log B less the mean of both directions' cross-entropy, element by element."""
    size, total = len(scores), 0.0
    for i in range(size):
        for row in (scores[i], scores[:, i]):
            total -= np.log(np.exp(scores[i, i]) / sum(np.exp(row[j]) for j in range(size)))
    return np.log(size) - total / (2 * size)


def test_critics_are_the_log_ratio_of_densities_and_the_cosine_and_batches_are_averaged():
    rho = 0.6
    x, y = known_pairs("gaussian", 2, -np.log(1 - rho**2), 7, 0)
    joint, single = multivariate_normal([0, 0], [[1, rho], [rho, 1]]), multivariate_normal(0, 1)

    def log_ratio(p: np.ndarray, q: np.ndarray) -> float:
        return sum(joint.logpdf([a, b]) - single.logpdf(a) - single.logpdf(b) for a, b in zip(p, q))

    ratio = np.array([[log_ratio(p, q) for q in y] for p in x])
    left, right, temperature = bounds.optimal_critic(x, y, rho)
    lengths = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    np.testing.assert_allclose(lengths, lengths[0][0])
    scores = (left @ right.T).numpy() / lengths[0][0] ** 2 / temperature
    np.testing.assert_allclose(scores - scores[0, 0], ratio - ratio[0, 0], atol=1e-9)
    found = bounds.info_nce_bound(x, y, 7, most=1, correlation=rho)
    assert found == pytest.approx(slow_bound(ratio))
    x, y = known_pairs("gaussian", 3, 1.0, 9, 0)
    a, b = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    slow = [slow_bound(a[rows] @ b[rows].T / 0.2) for rows in (slice(0, 4), slice(4, 8))]
    assert bounds.info_nce_bound(x, y, 4, most=5, temperature=0.2) == pytest.approx(np.mean(slow))
    assert bounds.info_nce_bound(x, y, 4, most=1, temperature=0.2) == pytest.approx(slow[0])


def test_repeated_reports_lower_the_ceiling_by_the_log_of_their_number():
    found = bounds.ceiling_of(["a"] * 3 + ["b"], 4)
    assert found["value"] == pytest.approx(np.log(4) - 0.75 * np.log(3))
    alone = bounds.ceiling_of(list("abcd"), 4)
    assert [alone["value"], alone["ceiling"]] == pytest.approx([np.log(4)] * 2)
    scores = 50.0 * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]])  # the best possible: rows of a shared, b alone
    assert slow_bound(scores) == pytest.approx(bounds.ceiling_of(["a", "a", "b"], 3)["value"])
    # Of 200 batches of 2 few hold the one repeated pair: the middle 95 % of them would be the ceiling alone.
    rows = {size: bounds.ceiling_of(["a"] * 12 + [str(k) for k in range(88)], size) for size in (2, 4, 64)}
    assert all(row["low"] < row["value"] < row["high"] <= row["ceiling"] for row in rows.values())
    expected = np.log(2) * (1 - 12 * 11 / (100 * 99))  # a batch of two equal reports is left with nothing
    assert rows[2]["low"] < expected < rows[2]["high"]


def test_bound_and_gap_add_up_to_the_truth():
    assert (len(SIGNAL.visible), len(SIGNAL.hidden)) == (8, 24)
    for factor, variance in product([1.0, 0.5, 0.0, 1.4], [0.2, 1.0, 12.0]):
        gap = SIGNAL.gap(factor, variance)
        assert SIGNAL.bound(SIGNAL.error(factor), variance) + gap == pytest.approx(SIGNAL.information)
        assert gap > 0


def test_the_decoders_bound_is_that_of_draws_and_pretrainings_masked_error_agrees():
    x = np.random.default_rng(3).multivariate_normal(np.zeros(32), SIGNAL.covariance, size=20_000)
    mean = 0.5 * x[:, SIGNAL.visible] @ SIGNAL.prediction.T
    log_density = multivariate_normal(np.zeros(24), 0.8).logpdf(x[:, SIGNAL.hidden] - mean).mean()
    assert SIGNAL.bound(SIGNAL.error(0.5), 0.8) == pytest.approx(SIGNAL.hidden_entropy + log_density, abs=0.1)
    for factor in (1.0, 0.5, 0.0):
        drawn = np.mean([SIGNAL.measured_error(factor, 500, seed) for seed in range(8)])
        assert drawn == pytest.approx(SIGNAL.error(factor), rel=0.03)
