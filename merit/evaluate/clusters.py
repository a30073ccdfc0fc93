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
import pandas as pd
from scipy.spatial.distance import cdist

from merit import intervals
from merit.config import one_of
from merit.evaluate.tasks import NotEnoughData

METRICS = ("euclidean", "cosine")
BLOCK = 1000  # rows whose distances are held at a time, for memory
FEWEST = 2  # patients that a class needs to be scored: one alone has no neighbour of its class
DIGITS = 10  # decimals that are kept: the last bits of sums depend on the number of cores


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
    values: np.ndarray, classes: np.ndarray, groups: np.ndarray, n_classes: int, config: ClusterConfig, share: bool
) -> list[dict[str, Any]]:
    """Mean of per-record values for each class and over classes, with 95 % intervals from random halves of the groups.

    values [N]; share: they lie from 0 to 1. Neighbours stay what they were: only who is counted is resampled. Two calls
    with the same classes, groups and settings draw the same groups. Gives value, low and high of each class, None for a
    class without records, and last those of the mean over classes, with its `draws`.
    """
    known = np.isfinite(values)
    _, place = np.unique(groups, return_inverse=True)
    n_groups = int(place.max()) + 1
    total, count = np.zeros((2, n_groups, n_classes))
    np.add.at(total, (place[known], classes[known]), values[known])
    np.add.at(count, (place[known], classes[known]), 1.0)
    weights = intervals.weights_of(np.arange(n_groups), config.n_resamples, config.seed).astype(np.float64).T
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ total) / (weights @ count)  # [1 + R, C]
    macro = intervals.mean_over_classes(means[:, ~np.isnan(means[0])].T)
    rows = []
    for column in (*means.T, macro):
        ends = (float(column[0]), *intervals.ends(column[0], column[1:], share))
        ends = [None] * 3 if np.isnan(ends).any() else [round(end, DIGITS) for end in ends]
        rows.append(dict(zip(("value", "low", "high"), ends)))
    rows[-1]["draws"] = np.round(macro[1:], 5).tolist()
    return rows


def umap_plane(x: np.ndarray, config: ClusterConfig, cache: Path) -> np.ndarray:
    """float64 [N, 2], 3 decimals: UMAP of rows (McInnes et al. 2018), the same in every process on any core count.

    Neighbours are exact, one thread; the start is the first two principal components, the first one 10 wide as UMAP
    starts, to 4 decimals with their signs fixed, so that the last bit of the linear algebra, which differs between
    machines, does not grow into another picture. cache: folder for what numba compiles.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
    os.environ["NUMBA_NUM_THREADS"] = "1"
    centred = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    start = left[:, :2] * singular[:2]
    start = start * np.sign(start[np.abs(start).argmax(axis=0), range(2)])
    start = np.round(10 * start / max(np.abs(start).max(), np.finfo(float).tiny), 4).astype(np.float32)
    index, distance = neighbours(x, config.n_neighbors, config.metric)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        nearest = (index.astype(np.int32), distance.astype(np.float32))
        settings = {"n_neighbors": config.n_neighbors, "min_dist": config.min_dist, "metric": config.metric}
        reducer = UMAP(**settings, init=start, precomputed_knn=nearest, random_state=config.seed, n_jobs=1)
        return np.round(reducer.fit_transform(np.asarray(x, np.float32)).astype(np.float64), 3)


def clusters(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    config: ClusterConfig,
    cache: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one encoder, one row per space, metric and class (`macro`: their mean); and the picture's points.

    features float32 [N, D]; labels bool [N, C], each record with at least one; groups [N]. `chance`: a class's expected
    purity if neighbours were drawn at random from other groups; `highest`: the highest that it can have, with fewer
    than k records of other groups. A class of fewer than `FEWEST` groups is drawn and not scored. NotEnoughData under
    two scored classes or too few records.
    """
    classes = single_class(labels)
    n_groups = np.array([len(np.unique(groups[classes == c])) for c in range(len(names))])
    scored, k = n_groups >= FEWEST, config.purity_neighbours
    fewest = max(config.n_neighbors, k) + 1
    if scored.sum() < 2 or len(features) <= fewest:
        raise NotEnoughData(
            f"clusters: expected two classes of at least {FEWEST} patients and more than {fewest} records; got "
            f"{int(scored.sum())} such classes and {len(features)} records"
        )
    plane = umap_plane(features, config, cache)
    counted = scored[classes]
    own, group = classes[counted], groups[counted]
    about = [
        {"class": name, "n": int((classes == c).sum()), "n_groups": int(n_groups[c])} for c, name in enumerate(names)
    ]
    for c in np.flatnonzero(~scored):
        about[c]["reason"] = f"fewer than {FEWEST} patients"
    for c in np.flatnonzero(scored):
        others = [own[group != g] == c for g in group[own == c]]
        about[c]["chance"] = float(np.mean([same.mean() for same in others]))
        about[c]["highest"] = float(np.mean(np.minimum([same.sum() for same in others], k) / k))
    about.append({"class": "macro", "n": len(features), "n_several": int((labels.sum(axis=1) > 1).sum())})
    rows = []
    for space, x, metric in (("encoder", features[counted], config.metric), ("umap", plane[counted], "euclidean")):
        per_record = {"purity": purity(x, own, group, k, metric), "silhouette": silhouette(x, own, group, metric)}
        for name, values in per_record.items():
            numbers = by_class(values, own, group, len(names), config, share=name == "purity")
            rows += [{"space": space, "metric": name, **of, **number} for of, number in zip(about, numbers)]
    points = pd.DataFrame(plane, columns=["x", "y"]).assign(**{"class": np.array(names)[classes]})
    return pd.DataFrame(rows), points
