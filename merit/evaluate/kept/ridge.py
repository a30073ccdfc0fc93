"""Ridge regression whose penalty is chosen on the training rows alone, for many targets at one decomposition.

For the hat matrix H of ridge with an intercept, the residual of a row that was left out of the fit is
(y − ŷ) / (1 − h) with h its diagonal (Allen 1974), so every penalty is tried without fitting again. Features are read
in chunks of rows, so that memory is that of the D × D decomposition and of the targets. Legend: N training rows, D
features, K targets, M directions, P penalties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from merit.evaluate.kept.features import Features, as_they_are

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

    def predict(self, x: np.ndarray | Features) -> np.ndarray:
        """[n, K] for features [n, D]."""
        if isinstance(x, Features):
            return np.concatenate([self.predict(part) for _, part in x.chunks()])
        return (x - self.mean) @ self.coefficients + self.intercepts


@dataclass(frozen=True)
class Design:
    """Features [N, D], decomposed once."""

    features: Features
    mean: np.ndarray
    back: np.ndarray
    """[D, M]: right singular vectors of the centred features over singular values."""
    shrink: np.ndarray
    """[M, P]: the share of each direction that a penalty leaves."""
    leverage: np.ndarray
    """[N, P]: the diagonal of the hat matrix."""

    @classmethod
    def of(cls, x: np.ndarray | Features) -> Self:
        """The design of features x [N, D]."""
        features = x if isinstance(x, Features) else Features(x, as_they_are)
        mean = sum(part.sum(axis=0) for _, part in features.chunks()) / len(features)
        gram = np.zeros((len(mean), len(mean)))
        for _, part in features.chunks():
            centred = part - mean
            gram += centred.T @ centred
        values, vectors = np.linalg.eigh(gram)
        kept = values > SMALLEST * max(float(values[-1]), np.finfo(float).tiny)
        values, back = values[kept], vectors[:, kept] / np.sqrt(values[kept])
        del gram, vectors
        shrink = values[:, None] / (values[:, None] + np.array(PENALTIES) * values.sum())
        leverage = [((part - mean) @ back) ** 2 @ shrink for _, part in features.chunks()]
        return cls(features, mean, back, shrink, np.minimum(1 / len(features) + np.vstack(leverage), MOST_LEVERAGE))

    def fit(self, y: np.ndarray) -> Fit:
        """Ridge for targets y [N, K], each with the penalty whose left-out squared error is lowest."""
        intercepts = y.mean(axis=0)
        inside = self.back.T @ sum((x - self.mean).T @ (y[at] - intercepts) for at, x in self.features.chunks())
        tried = [self.back @ (shrink[:, None] * inside) for shrink in self.shrink.T]
        errors = np.zeros((len(tried), y.shape[1]))
        for at, x in self.features.chunks():
            centred, wanted = x - self.mean, y[at] - intercepts
            for k, coefficients in enumerate(tried):
                residual = (wanted - centred @ coefficients) / (1 - self.leverage[at, k, None])
                errors[k] += np.einsum("nk,nk->k", residual, residual)
        best = errors.argmin(axis=0)
        coefficients = np.choose(best, tried)
        left_out = np.empty(y.shape)
        for at, x in self.features.chunks():
            fitted = (x - self.mean) @ coefficients
            left_out[at] = (y[at] - intercepts - fitted) / (1 - self.leverage[at][:, best])
        return Fit(self.mean, coefficients, intercepts, left_out, np.array(PENALTIES)[best])
