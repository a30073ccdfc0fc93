"""Ridge regression whose penalty is chosen on the training rows alone, for many targets at one decomposition.

For the hat matrix H of ridge with an intercept, the residual of a row that was left out of the fit is
(y − ŷ) / (1 − h) with h its diagonal (Allen 1974), so every penalty is tried without fitting again. Legend: N training
rows, D features, K targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e6)
"""Penalties that are tried, as shares of the features' total variance times N; the last leaves the mean alone."""
SMALLEST = 1e-9
"""Share of the largest eigenvalue under which a direction is rounding error."""
MOST_LEVERAGE = 1 - 1e-6


@dataclass(frozen=True)
class Fit:
    """What was fitted for K targets."""

    mean: np.ndarray
    """[D]: of the features."""
    coefficients: np.ndarray
    """[D, K]."""
    intercepts: np.ndarray
    """[K]: the targets' means."""
    left_out: np.ndarray
    """[N, K]: each training row's residual under the fit without it."""
    penalties: np.ndarray
    """[K]: as in `PENALTIES`."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """[n, K] for features [n, D]."""
        return (x - self.mean) @ self.coefficients + self.intercepts


@dataclass(frozen=True)
class Design:
    """Features [N, D], decomposed once."""

    mean: np.ndarray
    basis: np.ndarray
    """[N, M]: left singular vectors of the centred features."""
    back: np.ndarray
    """[D, M]: right singular vectors over singular values."""
    eigenvalues: np.ndarray
    """[M]: squared singular values."""

    @classmethod
    def of(cls, x: np.ndarray) -> Self:
        """The design of features x [N, D]."""
        mean = x.mean(axis=0)
        centred = x - mean
        values, vectors = np.linalg.eigh(centred.T @ centred)
        kept = values > SMALLEST * max(float(values[-1]), np.finfo(float).tiny)
        values, vectors = values[kept], vectors[:, kept]
        back = vectors / np.sqrt(values)
        return cls(mean, centred @ back, back, values)

    def fit(self, y: np.ndarray) -> Fit:
        """Ridge for targets y [N, K], each with the penalty whose left-out squared error is lowest."""
        intercepts = y.mean(axis=0)
        centred = y - intercepts
        inside = self.basis.T @ centred
        total = float(self.eigenvalues.sum())
        squares = self.basis**2
        best = np.full(y.shape[1], np.inf)
        chosen = np.zeros((len(self.eigenvalues), y.shape[1]))
        left_out, penalties = np.zeros_like(centred), np.zeros(y.shape[1])
        for penalty in PENALTIES:
            shrink = self.eigenvalues / (self.eigenvalues + penalty * total)
            leverage = np.minimum(1 / len(y) + squares @ shrink, MOST_LEVERAGE)
            residual = (centred - self.basis @ (shrink[:, None] * inside)) / (1 - leverage)[:, None]
            error = np.einsum("nk,nk->k", residual, residual)
            better = error < best
            best[better], penalties[better] = error[better], penalty
            left_out[:, better] = residual[:, better]
            chosen[:, better] = shrink[:, None]
        return Fit(self.mean, self.back @ (chosen * inside), intercepts, left_out, penalties)
