"""How records of one class lie together in an embedding: a picture by UMAP, and the numbers that the eye judges.

A record has one class here, the rarest of those that it carries, so that a common rhythm does not hide a rare one. The
numbers are taken in the encoder's own space and again in the picture, since UMAP can pull apart what lies together.
Legend: N records, C classes, D width, P patients (or groups of duplicates).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from merit import intervals
from merit.config import one_of
from merit.evaluate import bootstrap
from merit.evaluate.tasks import NotEnoughData

METRICS = ("euclidean", "cosine")
BLOCK = 1000
"""Rows whose distances are held at a time, for memory."""
FEWEST = 2
"""Patients that a class needs to be scored: one alone has no neighbour of its class."""
DIGITS = 10
"""Decimals that are kept: the last bits of sums depend on the number of cores."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """The picture and the numbers beside it; the same for every encoder."""

    n_neighbors: int = 15
    """Neighbours that UMAP keeps near (its default)."""
    min_dist: float = 0.1
    """How close points may lie in the picture (its default)."""
    metric: str = "euclidean"
    """Distance in the encoder's space, for UMAP and for the numbers: euclidean or cosine."""
    purity_neighbours: int = 10
    """Neighbours, none of the same patient, among which purity counts the own class."""
    n_resamples: int = 500
    """Resamples of the patients for the 95 % intervals."""
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("metric", self.metric, METRICS)
        for name in ("n_neighbors", "purity_neighbours", "n_resamples"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name}: expected at least 2; got {getattr(self, name)}")


def single_class(labels: np.ndarray) -> np.ndarray:
    """int [N]: the rarest class of each record of bool [N, C], the first of equally rare ones; -1 without any."""
    counts = labels.sum(axis=0)
    order = np.argsort(counts, kind="stable")
    chosen = order[labels[:, order].argmax(axis=1)]
    return np.where(labels.any(axis=1), chosen, -1)


def neighbours(x: np.ndarray, k: int, metric: str, apart: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of each row of x [N, D] and their distances, nearest first, ties by row; both [N, k].

    apart [N]: groups whose rows are no neighbours of each other; None: every row counts, itself too. A row with fewer
    than k eligible ones has infinite distances at the end.
    """
    x = np.asarray(x, dtype=np.float64)
    index, distance = np.empty((len(x), k), dtype=np.int64), np.empty((len(x), k))
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        between = cdist(x[rows], x, metric)  # one thread, the same bits on any machine of this kind
        if apart is not None:
            between[apart[rows, None] == apart[None]] = np.inf
        index[rows] = np.argsort(between, axis=1, kind="stable")[:, :k]
        distance[rows] = np.take_along_axis(between, index[rows], axis=1)
    return index, distance


def purity(x: np.ndarray, classes: np.ndarray, groups: np.ndarray, k: int, metric: str) -> np.ndarray:
    """float64 [N]: share of a record's k nearest records of other groups that are of its class.

    The same for every monotone change of distances; by chance a class has its share of the records.
    """
    index, distance = neighbours(x, k, metric, apart=groups)
    there = np.isfinite(distance)
    same = (classes[index] == classes[:, None]) & there
    n = there.sum(axis=1)
    return np.divide(same.sum(axis=1), n, out=np.full(len(x), np.nan), where=n > 0)


def silhouette(x: np.ndarray, classes: np.ndarray, groups: np.ndarray, metric: str) -> np.ndarray:
    """float64 [N], -1 to 1: how much nearer a record's own class is than the next one (Rousseeuw 1987).

    Records of the same group do not count, as in `purity`; NaN where the own class has no record of another group.
    """
    x = np.asarray(x, dtype=np.float64)
    member = np.eye(int(classes.max()) + 1)[classes]  # [N, C]
    out = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        eligible = (groups[rows, None] != groups[None]).astype(np.float64)
        n = eligible @ member
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (cdist(x[rows], x, metric) * eligible) @ member / n
        own = member[rows].astype(bool)
        a, b = mean[own], np.where(own | (n == 0), np.inf, mean).min(axis=1)
        with np.errstate(invalid="ignore"):
            out[rows] = np.where(np.isfinite(a) & np.isfinite(b), (b - a) / np.maximum(a, b), np.nan)
    return out


def by_class(
    values: np.ndarray, classes: np.ndarray, groups: np.ndarray, n_classes: int, n_resamples: int, seed: int,
    share: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Mean of per-record values for each class and over classes, with 95 % intervals from random halves of the groups.

    values [N]; share: they lie from 0 to 1. Neighbours stay what they were: only who is counted is resampled. Two calls
    with the same classes, groups, number and seed draw the same groups. Gives per_class: a list [C] of value, low,
    high, and macro with its resamples. A class without records has None.
    """
    known = np.isfinite(values)
    _, place = np.unique(groups, return_inverse=True)
    n_groups = int(place.max()) + 1
    total, count = np.zeros((2, n_groups, n_classes))
    np.add.at(total, (place[known], classes[known]), values[known])
    np.add.at(count, (place[known], classes[known]), 1.0)
    weights = bootstrap.weights_of(np.arange(n_groups), n_resamples, seed).astype(np.float64).T
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ total) / (weights @ count)  # [1 + R, C]
    scored = ~np.isnan(means[0])
    macro = bootstrap.mean_over_classes(means[:, scored].T)
    return {
        "per_class": [_interval(column, share) for column in means.T],
        "macro": _interval(macro, share) | {"resamples": np.round(macro[1:], 5).tolist()},
    }


def _interval(column: np.ndarray, share: bool) -> dict[str, float | None]:
    """Value (the first entry) and interval (from the others); None where there is nothing."""
    ends = (float(column[0]), *intervals.ends(column[0], column[1:], share))
    if np.isnan(ends).any():
        return dict.fromkeys(("value", "low", "high"))
    return intervals.named(*(round(end, DIGITS) for end in ends))


def umap_plane(x: np.ndarray, config: ClusterConfig, cache: Path) -> np.ndarray:
    """float64 [N, 2], 3 decimals: UMAP of rows (McInnes et al. 2018), the same in every process on any core count.

    Neighbours are exact, the start is the first two principal components (rounded, their signs fixed), one thread.
    cache: folder for what numba compiles.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
    os.environ["NUMBA_NUM_THREADS"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        index, distance = neighbours(x, config.n_neighbors, config.metric)
        reducer = UMAP(
            n_neighbors=config.n_neighbors, min_dist=config.min_dist, metric=config.metric, init=_start(x),
            precomputed_knn=(index.astype(np.int32), distance.astype(np.float32)), random_state=config.seed, n_jobs=1,
        )  # fmt: skip
        return np.round(reducer.fit_transform(np.asarray(x, np.float32)).astype(np.float64), 3)


def _start(x: np.ndarray) -> np.ndarray:
    """float32 [N, 2]: principal components, the first one 10 wide as UMAP starts; 4 decimals, so that the last bit of
    the linear algebra, which differs between machines, does not grow into another picture.
    """
    centred = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    two = left[:, :2] * singular[:2]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), range(2)])
    return np.round(10 * two / max(np.abs(two).max(), np.finfo(float).tiny), 4).astype(np.float32)


def clusters(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, names: Sequence[str], config: ClusterConfig,
    cache: Path,
) -> dict[str, Any]:  # fmt: skip
    """The values of one encoder, JSON-ready: points of the picture, purity and silhouette in both spaces.

    features float32 [N, D]; labels bool [N, C], each record with at least one; groups [N]. A class of fewer than
    `FEWEST` groups is drawn and not scored. NotEnoughData under two scored classes or too few records.
    """
    classes = single_class(labels)
    counts = np.bincount(classes, minlength=len(names))
    n_groups = np.array([len(np.unique(groups[classes == c])) for c in range(len(names))])
    scored = n_groups >= FEWEST
    fewest = max(config.n_neighbors, config.purity_neighbours) + 1
    if scored.sum() < 2 or len(features) <= fewest:
        raise NotEnoughData(
            f"clusters: expected two classes of at least {FEWEST} patients and more than {fewest} records; got "
            f"{int(scored.sum())} such classes and {len(features)} records"
        )
    points = umap_plane(features, config, cache)
    kept = scored[classes]
    spaces = {"encoder": (features, config.metric), "umap": (points, "euclidean")}
    return {
        "classes": list(names), "n": counts.tolist(), "n_groups": n_groups.tolist(), "scored": scored.tolist(),
        "n_records": len(features), "n_several": int((labels.sum(axis=1) > 1).sum()),
        "chance": [_chance(classes[kept], groups[kept], c) if scored[c] else None for c in range(len(names))],
        "highest": [_highest(classes, groups, c, config.purity_neighbours) if scored[c] else None
                    for c in range(len(names))],
        "spaces": {name: _numbers(x[kept], classes[kept], groups[kept], len(names), metric, config)
                   for name, (x, metric) in spaces.items()},
        "points": points.tolist(), "point_class": classes.tolist(),
    }  # fmt: skip


def _numbers(
    x: np.ndarray, classes: np.ndarray, groups: np.ndarray, n_classes: int, metric: str, config: ClusterConfig
) -> dict[str, Any]:
    per_record = {
        "purity": purity(x, classes, groups, config.purity_neighbours, metric),
        "silhouette": silhouette(x, classes, groups, metric),
    }
    return {
        name: by_class(values, classes, groups, n_classes, config.n_resamples, config.seed, share=name == "purity")
        for name, values in per_record.items()
    }


def _chance(classes: np.ndarray, groups: np.ndarray, c: int) -> float:
    """Expected purity of a class if neighbours were drawn at random from other groups, mean over its records."""
    own = [(groups != group) for group in groups[classes == c]]
    return float(np.mean([(classes[other] == c).mean() for other in own]))


def _highest(classes: np.ndarray, groups: np.ndarray, c: int, k: int) -> float:
    """The highest purity that a class can have: it may have fewer than k records of other groups."""
    others = [((classes == c) & (groups != group)).sum() for group in groups[classes == c]]
    return float(np.mean(np.minimum(others, k) / k))
