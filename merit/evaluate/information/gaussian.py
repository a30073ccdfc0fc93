"""Mutual information if both embeddings were jointly Gaussian: canonical correlations, without the bias of a sample.

For Gaussians I = −½ Σ log(1 − ρᵢ²) over the canonical correlations, in nats. With N pairs and few components the
sample's value is too high by a known amount (the expected log-determinant of a Wishart matrix); it is taken off.
Embeddings have far more directions than pairs can support, so both sides are cut to their leading principal components,
as many as predict held-out pairs best. Legend: N pairs, p and q components of the two sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of principal components that are tried."""
FOLDS = 5
SMALLEST = 1e-10
"""Share of the largest variance under which a direction is rounding error."""


@dataclass(frozen=True)
class GaussianInformation:
    """An estimate and what it rests on."""

    value: float
    """Nats, bias taken off; can be slightly below 0."""
    plain: float
    """Nats, as the sample has it."""
    components: int
    """Principal components of each side (fewer where a side has fewer)."""


def gaussian_information(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, components: int | None = None, seed: int = 0
) -> GaussianInformation:
    """Mutual information of rows of x [N, d] and y [N, e] under the Gaussian assumption.

    groups [N]: what cross-validation keeps together. components: of each side; None: the number of `COMPONENTS` with
    the highest held-out log-likelihood ratio. ValueError where there are fewer than 10 pairs.
    """
    if len(x) < 10:
        raise ValueError(f"pairs: expected at least 10; got {len(x)}")
    chosen = components or choose_components(x, y, groups, seed=seed)
    a, b = scores(x, chosen), scores(y, chosen)
    plain = from_correlations(np.minimum(canonical_correlations(a, b), HIGHEST))
    return GaussianInformation(plain - wishart_bias(len(a), a.shape[1], b.shape[1]), plain, chosen)


def scores(x: np.ndarray, components: int) -> np.ndarray:
    """Leading principal components [N, ≤ components] of rows, each of variance 1; directions without variance go."""
    mean, directions = principal_directions(x, components)
    return (x - mean) @ directions


def principal_directions(x: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and directions [d, ≤ components], scaled so that each component has variance 1; signs are fixed."""
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(axis=0)
    _, singular, rows = np.linalg.svd(x - mean, full_matrices=False)
    kept = singular[:components] > np.sqrt(SMALLEST) * max(singular[0], np.finfo(float).tiny)
    rows, singular = rows[:components][kept], singular[:components][kept]
    rows = rows * np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, None]
    return mean, (rows / singular[:, None]).T * np.sqrt(len(x) - 1)


def canonical_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The min(p, q) canonical correlations of two samples [N, p] and [N, q], falling (Hotelling 1936)."""
    bases = [np.linalg.qr(side - side.mean(axis=0))[0] for side in (a, b)]
    return np.clip(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False), 0.0, 1.0)


@dataclass(frozen=True)
class CanonicalFrame:
    """How to turn both sides into canonical variables: of variance 1, unrelated but for pairs of correlation ρᵢ."""

    means: tuple[np.ndarray, np.ndarray]
    directions: tuple[np.ndarray, np.ndarray]
    """[d, n] and [e, n]."""
    correlations: np.ndarray
    """float64 [n], falling."""

    @classmethod
    def fitted(cls, x: np.ndarray, y: np.ndarray, components: int) -> CanonicalFrame:
        """On the leading principal components of rows x [N, d] and y [N, e]; n: the fewer of both sides'."""
        (mean_x, to_x), (mean_y, to_y) = (principal_directions(side, components) for side in (x, y))
        a, b = (x - mean_x) @ to_x, (y - mean_y) @ to_y
        left, rho, right = np.linalg.svd(a.T @ b / (len(a) - 1), full_matrices=False)
        return cls((mean_x, mean_y), (to_x @ left, to_y @ right.T), np.clip(rho, 0.0, 1.0))

    def variables(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[N, n] and [N, n]."""
        return tuple((side - m) @ d for side, m, d in zip((x, y), self.means, self.directions))


HIGHEST = 1 - 1e-9
"""Correlation that one of 1 is taken for, so that what is shared entirely has a number."""


def from_correlations(correlations: np.ndarray) -> float:
    """−½ Σ log(1 − ρ²), nats; infinite where a correlation is 1."""
    with np.errstate(divide="ignore"):
        return float(-0.5 * np.log1p(-(correlations**2)).sum())


def wishart_bias(n: int, p: int, q: int) -> float:
    """By how much the sample's value is too high on average for Gaussians, whatever their correlations, nats.

    E log det S − log det Σ = Σᵢ ψ((n − i)/2) + p log(2/(n − 1)), i = 1…p, for the covariance S of n rows; the value is
    half of (side + side − both), in which the second term cancels. Needs n > p + q.
    """
    if n <= p + q:
        raise ValueError(f"pairs: expected more than the {p + q} components of both sides; got {n}")

    def expected(width: int) -> float:
        return float(digamma((n - np.arange(1, width + 1)) / 2).sum())

    return 0.5 * (expected(p) + expected(q) - expected(p + q))


def choose_components(x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> int:
    """The number of components whose fitted Gaussian gives held-out pairs the highest log p(x, y) / p(x) p(y)."""
    fold = fold_of(groups, FOLDS, seed)
    most = min(x.shape[1], y.shape[1], (len(x) - len(x) // FOLDS) // 4)
    candidates = [m for m in COMPONENTS if m < most] + [max(most, 1)] if most <= COMPONENTS[-1] else [*COMPONENTS]
    total = np.zeros(len(candidates))
    for f in range(FOLDS):
        train, test = fold != f, fold == f
        sides = []
        for side in (x, y):
            mean, directions = principal_directions(side[train], candidates[-1])
            sides.append(((side[train] - mean) @ directions, (side[test] - mean) @ directions))
        for i, m in enumerate(candidates):
            total[i] += held_out_ratio(*(part[:, :m] for side in sides for part in side))
    return candidates[int(total.argmax())]


def held_out_ratio(a: np.ndarray, a_test: np.ndarray, b: np.ndarray, b_test: np.ndarray) -> float:
    """Sum over test pairs of log p(a, b) / p(a) p(b), Gaussians fitted on a, b: columns uncorrelated, variance 1."""
    left, rho, right = np.linalg.svd(a.T @ b / (len(a) - 1))
    n = min(a.shape[1], b.shape[1])
    rho = np.clip(rho[:n], 0.0, 1.0 - 1e-6)
    u, v = a_test @ left[:, :n], b_test @ right[:n].T
    quadratic = (rho**2 * (u**2 + v**2) - 2 * rho * u * v) / (1 - rho**2)
    return float(-0.5 * (np.log1p(-(rho**2)) + quadratic).sum())


def fold_of(groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """int [N]: a fold for each row, whole groups in one, dealt out at random."""
    names, place = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % n_folds)[place]
