"""What a decoder reads of an embedding or of a report: the numbers themselves, and for non-linear decoding a sample of
kernel features beside them.

A Gaussian kernel on 100 landmarks (Nyström: Williams and Seeger 2001, scikit-learn's) makes ridge regression non-linear
at a cost that is linear in the records. Legend: N records, D numbers of each, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

LANDMARKS = 100
FEWEST = 4
"""Training records a landmark."""
LEAST_VARIANCE = 1e-12
CHUNK = 2048
"""Records whose features are in memory at a time: of 3,094 features, 51 MB, where all of PTB-XL would be 540 MB."""

Reader = Callable[[np.ndarray], np.ndarray]
"""Rows as they come -> features float64 [n, F]."""


@dataclass(frozen=True)
class Features:
    """The features [N, F] of records, never in memory all at once."""

    values: np.ndarray
    """[N, D], of any type: the rows as they come."""
    read: Reader

    def __len__(self) -> int:
        return len(self.values)

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Places and features float64 [at most `CHUNK`, F], in order."""
        for start in range(0, len(self), CHUNK):
            at = slice(start, start + CHUNK)
            yield at, self.read(self.values[at])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 [F] each: mean, and variance around it."""
        mean = sum(x.sum(axis=0) for _, x in self.chunks()) / len(self)
        return mean, sum(((x - mean) ** 2).sum(axis=0) for _, x in self.chunks()) / len(self)


def as_they_are(rows: np.ndarray) -> np.ndarray:
    """The reader that changes nothing."""
    return np.asarray(rows, dtype=np.float64)


def reader(train: np.ndarray, *, standardise: bool, nonlinear: bool, seed: int) -> Reader:
    """How rows are read, by the training rows [N, D] alone.

    standardise: every number to mean 0 and variance 1 (an embedding), else all by one scale (statements, 0 and 1, so
    that a rare one does not count more). Each part, linear and kernel, has variance 1 in total; the linear one, [n, D],
    comes first.
    """
    mean, variance = Features(train, as_they_are).moments()
    if standardise:
        spread = np.where(variance > LEAST_VARIANCE, np.sqrt(variance), np.inf)
        spread = spread * np.sqrt(max(int(np.isfinite(spread).sum()), 1))
    else:
        spread = np.full(len(mean), np.sqrt(max(float(variance.sum()), LEAST_VARIANCE)))

    def linear(rows: np.ndarray) -> np.ndarray:
        """[n, D], of total variance 1 on the training rows."""
        return (as_they_are(rows) - mean) / spread

    if not nonlinear:
        return linear
    kernel = _kernel(train, linear, seed)

    def both(rows: np.ndarray) -> np.ndarray:
        """[n, D + landmarks]."""
        x = linear(rows)
        return np.hstack([x, kernel(x)])

    return both


def _kernel(train: np.ndarray, linear: Reader, seed: int) -> Reader:
    """Kernel features of what `linear` gives, which has total variance 1, scaled to total variance 1 themselves.

    Two rows lie 2 apart in squared distance on average; there the kernel has fallen to exp(−1).
    """
    from sklearn.kernel_approximation import Nystroem

    distinct = len({row.tobytes() for row in np.ascontiguousarray(train)})
    landmarks = max(1, min(LANDMARKS, distinct, len(train) // FEWEST))
    chosen = np.random.RandomState(seed).permutation(len(train))[:landmarks]  # as Nystroem draws them from all rows
    made = Nystroem(kernel="rbf", gamma=0.5, n_components=landmarks, random_state=seed).fit(linear(train[chosen]))
    _, variance = Features(train, lambda rows: made.transform(linear(rows))).moments()
    size = np.sqrt(max(float(variance.sum()), LEAST_VARIANCE))
    return lambda x: made.transform(x) / size
