"""What a decoder reads of an embedding or of a report: the numbers themselves, and for non-linear decoding a sample of
kernel features beside them.

A Gaussian kernel on 100 landmarks (Nyström: Williams and Seeger 2001, scikit-learn's) makes ridge regression non-linear
at a cost that is linear in the records. Legend: N records, D numbers of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LANDMARKS = 100
FEWEST = 4
"""Training records a landmark."""
LEAST_VARIANCE = 1e-12

Reader = Callable[[np.ndarray], np.ndarray]
"""Rows as they come -> features [n, F]."""


def reader(train: np.ndarray, *, standardise: bool, nonlinear: bool, seed: int) -> Reader:
    """How rows are read, by the training rows [N, D] alone.

    standardise: every number to mean 0 and variance 1 (an embedding), else all by one scale (statements, 0 and 1, so
    that a rare one does not count more). Each part, linear and kernel, has variance 1 in total.
    """
    train = np.asarray(train, dtype=np.float64)
    mean, variance = train.mean(axis=0), train.var(axis=0)
    if standardise:
        spread = np.where(variance > LEAST_VARIANCE, np.sqrt(variance), np.inf)
        spread = spread * np.sqrt(max(int(np.isfinite(spread).sum()), 1))
    else:
        spread = np.full(len(mean), np.sqrt(max(float(variance.sum()), LEAST_VARIANCE)))

    def linear(rows: np.ndarray) -> np.ndarray:
        """[n, D], of total variance 1 on the training rows."""
        return (np.asarray(rows, dtype=np.float64) - mean) / spread

    if not nonlinear:
        return linear
    kernel = _kernel(linear(train), seed)
    return lambda rows: np.hstack([linear(rows), kernel(linear(rows))])


def _kernel(train: np.ndarray, seed: int) -> Reader:
    """Kernel features of rows of total variance 1, scaled to total variance 1 themselves.

    Two rows lie 2 apart in squared distance on average; there the kernel has fallen to exp(−1).
    """
    from sklearn.kernel_approximation import Nystroem

    landmarks = max(1, min(LANDMARKS, len(np.unique(train, axis=0)), len(train) // FEWEST))
    made = Nystroem(kernel="rbf", gamma=0.5, n_components=landmarks, random_state=seed).fit(train)
    size = np.sqrt(max(float(made.transform(train).var(axis=0).sum()), LEAST_VARIANCE))
    return lambda rows: made.transform(rows) / size
