"""All numbers on one encoder's pairs: three estimates of mutual information and the geometry, with intervals.

Every number is taken on one recording a distinct report, so that no report stands twice. Intervals come from halves of
the patients, drawn without putting back: the spread of a statistic over halves is that over whole samples of this size
(its variance at N/2 of N is σ²/N). Resampling with putting back would make ties, which no nearest-neighbour estimate
survives. Legend: N pairs, d shared width, D encoder width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from merit.evaluate.information import geometry
from merit.evaluate.information.critic import CriticConfig, critic_information
from merit.evaluate.information.gaussian import gaussian_information, scores
from merit.evaluate.information.ksg import NEIGHBOURS, ceiling, ksg, ksg_information
from merit.evaluate.splits import NotEnoughData

FEWEST = 60
"""Pairs with distinct reports under which nothing is estimated."""
NO_VARIANCE = 1e-12
"""Variance of unit vectors under which they are all alike."""
DIGITS = 10
"""Decimals that are kept: the last bits of linear algebra depend on the number of cores."""
Z = 1.959964
"""Half width of a 95 % interval in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class InformationConfig:
    """How the pairs are measured; the same for every objective."""

    most_pairs: int = 4000
    """More distinct reports than this are drawn from at random."""
    ksg_components: int = 4
    """Principal components of each side that the nearest-neighbour estimate sees, each scaled to variance 1."""
    halves: int = 40
    """Halves of the patients for the intervals."""
    most_points: int = 800
    """Pairs in the picture."""
    critic: CriticConfig = field(default_factory=CriticConfig)
    seed: int = 0


def one_a_report(reports: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Positions, rising, of one recording drawn at random for each distinct report; at most `most` of them."""
    order = np.random.default_rng(seed).permutation(len(reports))
    first: dict[str, int] = {}
    for position in order.tolist():
        first.setdefault(reports[position], position)
    return np.sort(np.array(list(first.values())[:most], dtype=np.int64))


def entropy(reports: Sequence[str]) -> float:
    """Entropy of the reports as they repeat, nats (plug-in: too low where most occur once)."""
    share = np.array(list(Counter(reports).values())) / len(reports)
    return float(-(share * np.log(share)).sum())


def measure(
    ecg: np.ndarray, text: np.ndarray, encoded: np.ndarray, groups: np.ndarray, config: InformationConfig
) -> dict[str, Any]:
    """The values of one encoder, JSON-ready: information, geometry, controls and the picture's points.

    ecg, text: [N, d] of length 1, row i of a pair, every report once; encoded: [N, D] before the projection; groups
    [N]: patients. NotEnoughData under `FEWEST` pairs.
    """
    if len(ecg) < FEWEST:
        raise NotEnoughData(f"information: expected at least {FEWEST} pairs with distinct reports; got {len(ecg)}")
    n_patients, fewest = len(np.unique(groups)), 4 * config.critic.folds
    if n_patients < fewest:
        raise NotEnoughData(f"information: expected at least {fewest} patients; got {n_patients}")
    if min(float(np.var(side, axis=0).sum()) for side in (ecg, text)) < NO_VARIANCE:
        raise NotEnoughData("information: expected embeddings that differ; those of one side are all alike")
    information, halves = _information(ecg, text, groups, config)
    shape = _geometry(ecg, text, encoded)
    values = {**information["values"], **shape(np.arange(len(ecg)))}
    draws = {name: [] for name in values}
    for rows in halves_of(groups, config.halves, config.seed):
        for name, value in {**halves(rows), **shape(rows)}.items():
            draws[name].append(value)
    return _rounded(
        {
            "n": len(ecg),
            "n_patients": len(np.unique(groups)),
            "estimates": {name: _with_interval(values[name], draws[name]) for name in information["values"]},
            "geometry": {
                name: _with_interval(values[name], draws[name], share="_in_" in name or "outside" in name)
                for name in values
                if name not in information["values"]
            },
            **information["about"],
            "picture": _picture(ecg, text, config),
        }
    )


def _rounded(values: Any) -> Any:
    """The same with every float to `DIGITS` decimals."""
    if isinstance(values, dict):
        return {name: _rounded(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return round(values, DIGITS) if isinstance(values, float) else values


def halves_of(groups: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    """n times the rows of a random half of the groups; the same for the same groups and seed."""
    names, place = np.unique(groups, return_inverse=True)
    generator = np.random.default_rng([seed, 2])
    return [np.flatnonzero(np.isin(place, generator.permutation(len(names))[: len(names) // 2])) for _ in range(n)]


def _information(
    ecg: np.ndarray, text: np.ndarray, groups: np.ndarray, config: InformationConfig
) -> tuple[dict[str, Any], Callable[[np.ndarray], dict[str, float]]]:
    """The three estimates, what belongs to them, and how each comes out on some of the rows."""
    gaussian = gaussian_information(ecg, text, groups, seed=config.seed)
    a, b = scores(ecg, config.ksg_components), scores(text, config.ksg_components)
    nearest = ksg_information(a, b, seed=config.seed)
    critic = critic_information(ecg, text, groups, replace(config.critic, seed=config.seed))
    wrong = np.random.default_rng([config.seed, 1]).permutation(len(ecg))
    shuffled = {
        "ksg": ksg_information(a, b[wrong], seed=config.seed).value,
        "gaussian": gaussian_information(ecg, text[wrong], groups, seed=config.seed).value,
    }

    left, right = scores(ecg, gaussian.components), scores(text, gaussian.components)

    def on(rows: np.ndarray) -> dict[str, float]:
        """The three estimates on some of the pairs."""
        m = min(gaussian.components, (len(rows) - 2) // 3)
        of_half = gaussian_information(left[rows, :m], right[rows, :m], groups[rows], components=m)
        return {
            "info_nce": float(critic.contributions[rows].mean()),
            "ksg": ksg(a[rows], b[rows]),
            "gaussian": of_half.value,
        }

    return {
        "values": {"info_nce": critic.value, "ksg": nearest.value, "gaussian": gaussian.value},
        "about": {
            "ceilings": {"info_nce": critic.ceiling, "ksg": ceiling(len(ecg), NEIGHBOURS)},
            "log_n": float(np.log(len(ecg))),
            "components": gaussian.components,
            "plain": {"ksg": nearest.plain, "gaussian": gaussian.plain},
            "shuffled": shuffled,
        },
    }, on


def _geometry(ecg: np.ndarray, text: np.ndarray, encoded: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
    """A function of rows that gives every number of the geometry on them; distances are computed once."""
    as_they_are = geometry.distances(ecg, text)
    centred = geometry.distances(ecg - ecg.mean(axis=0), text - text.mean(axis=0))

    def covered(between: dict[str, np.ndarray], rows: np.ndarray) -> tuple[float, float]:
        xx, yy, xy = (between[name][np.ix_(rows, rows)] for name in ("xx", "yy", "xy"))
        return geometry.coverage(xy.T, xx), geometry.coverage(xy, yy)

    def on(rows: np.ndarray) -> dict[str, float]:
        """The geometry of some of the pairs."""
        x, y = ecg[rows], text[rows]
        gap, relative = geometry.modality_gap(x, y)
        (in_x, along_x), (in_y, along_y) = geometry.eigenvalues(x), geometry.eigenvalues(y)
        span_x, span_y = geometry.span(in_x, along_x), geometry.span(in_y, along_y)
        raw, moved = covered(as_they_are, rows), covered(centred, rows)
        return {
            "gap": gap, "relative_gap": relative,
            "ecg_spread": geometry.spread(x), "text_spread": geometry.spread(y),
            "ecg_rank": geometry.effective_rank(in_x), "text_rank": geometry.effective_rank(in_y),
            "encoder_rank": geometry.effective_rank(geometry.eigenvalues(encoded[rows])[0]),
            "ecg_outside_text": geometry.outside(x, span_y), "text_outside_ecg": geometry.outside(y, span_x),
            "text_span": float(span_y.shape[1]), "ecg_span": float(span_x.shape[1]),
            "text_in_ecg": raw[0], "ecg_in_text": raw[1],
            "text_in_ecg_centred": moved[0], "ecg_in_text_centred": moved[1],
        }  # fmt: skip

    return on


def _with_interval(value: float, draws: Sequence[float], share: bool = False) -> dict[str, Any]:
    """Value, 95 % interval and the halves' deviations from their mean, for differences between encoders.

    share: the value lies between 0 and 1, and so do the ends of its interval.
    """
    away = np.asarray(draws, dtype=float) - np.mean(draws)
    half = Z * float(np.std(away, ddof=1)) if len(away) > 1 else float("nan")
    if not np.isfinite([value, half]).all():
        finite = float(value) if np.isfinite(value) else None
        return {"value": finite, "low": None, "high": None, "draws": []}
    ends = np.array([value - half, value + half])
    low, high = np.clip(ends, 0.0, 1.0).tolist() if share else ends.tolist()
    return {"value": float(value), "low": low, "high": high, "draws": np.round(away, 5).tolist()}


def _picture(ecg: np.ndarray, text: np.ndarray, config: InformationConfig) -> dict[str, Any]:
    """Points on the joint principal plane, 3 decimals, of some pairs drawn at random."""
    x, y, shares = geometry.plane(ecg, text)
    rows = np.sort(np.random.default_rng([config.seed, 3]).permutation(len(ecg))[: config.most_points])
    return {"ecg": np.round(x[rows], 3).tolist(), "text": np.round(y[rows], 3).tolist(), "explained": shares}
