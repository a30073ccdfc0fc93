"""Entropy, information and regression of Gaussians against densities and a grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from merit.evaluate.bounds import gaussian

COVARIANCE = np.array([[2.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 1.5]])


def test_entropy_is_scipys_and_moves_with_the_unit():
    assert gaussian.entropy(COVARIANCE) == pytest.approx(multivariate_normal(np.zeros(3), COVARIANCE).entropy())
    moved = gaussian.entropy(1000**2 * COVARIANCE) - gaussian.entropy(COVARIANCE)
    assert moved == pytest.approx(3 * np.log(1000))


def test_information_is_that_of_a_sum_over_a_grid_and_has_no_unit():
    rho = 0.7
    grid = np.linspace(-8, 8, 401)
    joint = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).pdf(np.dstack(np.meshgrid(grid, grid)))
    joint /= joint.sum()
    slow = (joint * np.log(joint / (joint.sum(0) * joint.sum(1)[:, None]))).sum()
    found = gaussian.information(np.array([[1, rho], [rho, 1]]), np.array([0]), np.array([1]))
    assert found == pytest.approx(slow, abs=1e-6)
    assert found == pytest.approx(-0.5 * np.log(1 - rho**2))
    unit = np.diag([10.0, 0.1, 3.0])
    left, right = np.array([0]), np.array([1, 2])
    same = gaussian.information(unit @ COVARIANCE @ unit, left, right)
    assert same == pytest.approx(gaussian.information(COVARIANCE, left, right))


def test_regression_is_least_squares():
    x = np.random.default_rng(0).multivariate_normal(np.zeros(3), COVARIANCE, size=400_000)
    matrix, left = gaussian.regression(COVARIANCE, np.array([0, 2]), np.array([1]))
    slow = np.linalg.lstsq(x[:, [0, 2]], x[:, 1], rcond=None)[0]
    np.testing.assert_allclose(matrix[0], slow, atol=0.01)
    assert left[0, 0] == pytest.approx(np.var(x[:, 1] - x[:, [0, 2]] @ slow), abs=0.01)


def test_neighbours_have_the_correlation():
    covariance = gaussian.autoregressive(5, 0.9)
    assert covariance[0, 0] == 1
    assert covariance[1, 4] == pytest.approx(0.9**3)
