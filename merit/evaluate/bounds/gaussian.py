"""Entropy, information and regression of jointly Gaussian variables from their covariance, nats.

n coordinates; `left`, `right`, `given`, `wanted`: positions of coordinates, int arrays.
"""

from __future__ import annotations

import numpy as np


def autoregressive(n: int, correlation: float) -> np.ndarray:
    """Covariance [n, n] of n successive samples of a stationary first-order process of variance 1."""
    place = np.arange(n)
    return correlation ** np.abs(place[:, None] - place)


def entropy(covariance: np.ndarray) -> float:
    """Differential entropy, nats: ½ log det(2πe Σ). It depends on the unit of every coordinate."""
    return 0.5 * float(np.linalg.slogdet(2 * np.pi * np.e * covariance)[1])


def information(covariance: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """Mutual information of two sets of coordinates, nats: ½ log(det Σ_l det Σ_r / det Σ_lr)."""
    parts = (left, right, np.concatenate([left, right]))
    one, other, both = (float(np.linalg.slogdet(covariance[np.ix_(p, p)])[1]) for p in parts)
    return 0.5 * (one + other - both)


def regression(covariance: np.ndarray, given: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix [w, g] of the conditional mean of `wanted` given `given`, and the covariance [w, w] that is left."""
    cross = covariance[np.ix_(wanted, given)]
    matrix = np.linalg.solve(covariance[np.ix_(given, given)], cross.T).T
    return matrix, covariance[np.ix_(wanted, wanted)] - matrix @ cross.T
