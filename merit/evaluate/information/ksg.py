"""Mutual information from distances to nearest neighbours: Kraskov, Stögbauer and Grassberger (2004), estimator 1.

It assumes that the density is even within the box that holds a point's k neighbours; with strong dependence in more
than two or three dimensions and a few thousand pairs the boxes are too big for that, and the value is too low. How much
too low is measured on Gaussians of the same covariance and number, and taken off; where that is much, the value is
theirs more than the estimator's. Legend: N pairs, p and q dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma

from merit.evaluate.information.gaussian import canonical_correlations, from_correlations

NEIGHBOURS = 3
SURROGATES = 2


@dataclass(frozen=True)
class KsgInformation:
    """An estimate with and without what Gaussians of the same covariance say about its bias."""

    value: float
    """Nats, bias taken off."""
    plain: float
    """Nats, as the estimator has it."""


def ksg(x: np.ndarray, y: np.ndarray, k: int = NEIGHBOURS) -> float:
    """Mutual information of rows x [N, p] and y [N, q], nats: ψ(k) + ψ(N) − ⟨ψ(nx + 1) + ψ(ny + 1)⟩ (Eq. 8).

    nx, ny: other points nearer than the k-th neighbour in the joint space, maximum norm. At most `ceiling(N, k)`. Made
    for continuous values: ties (one report many times) must be taken out before. ValueError for N ≤ k.
    """
    if len(x) != len(y) or len(x) <= k:
        raise ValueError(f"pairs: expected two sides of the same number, more than k = {k}; got {len(x)} and {len(y)}")
    both = np.hstack([x, y])
    distance = cKDTree(both).query(both, [k + 1], p=np.inf)[0][:, 0]
    inside = np.nextafter(distance, 0)  # strictly nearer
    counts = [cKDTree(z).query_ball_point(z, inside, p=np.inf, return_length=True) for z in (x, y)]
    return float(digamma(k) + digamma(len(x)) - np.mean(digamma(counts[0]) + digamma(counts[1])))


def ceiling(n: int, k: int = NEIGHBOURS) -> float:
    """The most that the plain estimator can give for n pairs, nats: every marginal box holds its k points alone."""
    return float(digamma(n) - digamma(k))


def ksg_information(
    x: np.ndarray, y: np.ndarray, *, k: int = NEIGHBOURS, n_surrogates: int = SURROGATES, seed: int = 0
) -> KsgInformation:
    """The estimator's value less its mean error on Gaussians of the same covariance and number of pairs.

    x, y: as for `ksg`, without constant directions. Exact for Gaussians up to noise, by construction; for others it
    takes off what the dependence's strength and the number of dimensions cause. Near the ceiling, which it never
    passes, it says little more than the Gaussian estimate. n_surrogates: Gaussian samples drawn.
    """
    plain = ksg(x, y, k)
    correlations = np.minimum(canonical_correlations(x, y), 1 - 1e-9)
    generator = np.random.default_rng(seed)
    # Errors depend on the frame: the surrogates are turned back from canonical variables to that of the data.
    turn_x, turn_y = _frames(x, y)
    errors = []
    for _ in range(n_surrogates):
        u, v = generator.normal(size=(2, len(x), max(x.shape[1], y.shape[1])))
        n = len(correlations)
        v[:, :n] = correlations * u[:, :n] + np.sqrt(1 - correlations**2) * v[:, :n]
        errors.append(
            ksg(u[:, : x.shape[1]] @ turn_x, v[:, : y.shape[1]] @ turn_y, k) - from_correlations(correlations)
        )
    return KsgInformation(min(plain - float(np.mean(errors)), ceiling(len(x), k)), plain)


def _frames(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[p, p] and [q, q]: from canonical variables of variance 1 to the frames of x and y."""
    (q_x, r_x), (q_y, r_y) = (np.linalg.qr(side - side.mean(axis=0)) for side in (x, y))
    left, _, right = np.linalg.svd(q_x.T @ q_y)
    scale = np.sqrt(len(x) - 1)
    return left.T @ r_x / scale, right @ r_y / scale
