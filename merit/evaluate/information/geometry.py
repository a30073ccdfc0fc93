"""How two clouds of embeddings lie to each other: gap, spread, effective rank, span and coverage.

Legend: N recordings, R texts, d width.
"""

from __future__ import annotations

import numpy as np

SPAN = 0.99
"""Share of a cloud's variance that its span keeps."""
NEIGHBOURS = 10
"""The radius of a point of a cloud reaches to this neighbour within the cloud."""


def modality_gap(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Distance of the centroids of x [N, d] and y [R, d], and its ratio to the root mean square distance of points
    from their own centroid (both clouds, equal weight): above 1 the clouds are farther apart than wide.
    """
    distance = float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0)))
    within = np.sqrt((spread(x) + spread(y)) / 2)
    return distance, float(distance / within) if within > 0 else float("nan")


def spread(x: np.ndarray) -> float:
    """Mean squared distance from the centroid: the total variance; at most 1 for points of length 1."""
    return float(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())


def eigenvalues(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances [d], falling and not negative, and the directions [d, d] (columns) that they are along."""
    centred = np.asarray(x, dtype=np.float64) - x.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred / len(x))
    return np.maximum(values[::-1], 0.0), directions[:, ::-1]


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of the normalised eigenvalues [d] of the covariance matrix (Roy and Vetterli 2007, its
    singular values): 1 for a line, d for a ball; NaN where nothing varies.
    """
    if values.sum() <= 0:
        return float("nan")
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def span(values: np.ndarray, directions: np.ndarray, kept: float = SPAN) -> np.ndarray:
    """[d, n]: the fewest leading directions of `eigenvalues` that keep the share `kept` of the variance."""
    n = int(np.searchsorted(np.cumsum(values), kept * values.sum() * (1 - 1e-12)) + 1)
    return directions[:, :n]


def outside(x: np.ndarray, directions: np.ndarray) -> float:
    """Share of the variance of x [N, d] outside a span [d, n]; NaN where x does not vary.

    x is taken about its own centroid, so the gap plays no part. A cloud without direction has 1 − n / d outside.
    """
    centred = np.asarray(x, dtype=np.float64) - x.mean(axis=0)
    total = (centred**2).sum()
    return float(1 - ((centred @ directions) ** 2).sum() / total) if total > 0 else float("nan")


def coverage(to_cloud: np.ndarray, within_cloud: np.ndarray, k: int = NEIGHBOURS) -> float:
    """Share of points that lie within the radius of some point of a cloud; the radius of a point of the cloud is the
    distance to its k-th neighbour there (Kynkäänniemi et al. 2019, recall).

    to_cloud: distances [points, cloud]. within_cloud: distances [cloud, cloud], 0 on the diagonal. NaN for a cloud of
    k points or fewer.
    """
    if len(within_cloud) <= k:
        return float("nan")
    radius = np.partition(within_cloud, k, axis=1)[:, k]
    return float((to_cloud <= radius).any(axis=1).mean())


def distances(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Euclidean distances between and within two clouds: xx, yy and xy."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return {"xx": _distances(x, x), "yy": _distances(y, y), "xy": _distances(x, y)}


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0.0))


def plane(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Both clouds on the first two principal components of their union, each cloud with the same weight: [N, 2],
    [R, 2] and the components' shares of the variance. Signs are fixed: the largest entry of a direction is positive.
    """
    middle = (x.mean(axis=0) + y.mean(axis=0)) / 2
    moments = sum((side - middle).T @ (side - middle) / len(side) for side in map(np.float64, (x, y)))
    values, directions = np.linalg.eigh(moments)
    two = directions[:, ::-1][:, :2]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), range(two.shape[1])])
    shares = (values[::-1][:2] / max(values.sum(), np.finfo(float).tiny)).tolist()
    return (x - middle) @ two, (y - middle) @ two, shares
