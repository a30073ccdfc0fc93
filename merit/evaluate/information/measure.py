"""All numbers on one encoder's pairs: three estimates of mutual information and the geometry, with intervals.

Every number is taken on one recording a distinct report, so that no report stands twice. Directions are found on other
patients than those on whom information is estimated, halves included. Intervals come from halves of
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
from merit.evaluate.information.gaussian import (
    FOLDS,
    Part,
    choose,
    cross_fit,
    gaussian_information,
    mean_over_parts,
    principal,
)
from merit.evaluate.information.ksg import NEIGHBOURS, KsgInformation, ceiling, ksg_information
from merit.evaluate.tasks import NotEnoughData

FEWEST = 60
"""Pairs with distinct reports under which nothing is estimated."""
NO_VARIANCE = 1e-12
"""Variance of unit vectors under which they are all alike."""
DIGITS = 10
"""Decimals that are kept: the last bits of linear algebra depend on the number of cores."""
TOLERANCE = 0.2
"""Nats by which an estimate may miss what is planted before it has no vote."""
PLANTED = 1.0
"""Nats that are planted at least."""
Z = 1.959964
"""Half width of a 95 % interval in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class InformationConfig:
    """How the pairs are measured; the same for every objective."""

    most_pairs: int = 4000
    """More distinct reports than this are drawn from at random."""
    ksg_pairs: int = 4
    """Leading canonical pairs that the nearest-neighbour estimate sees, at most."""
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
    n_patients, fewest = len(np.unique(groups)), 4 * FOLDS
    if n_patients < fewest:
        raise NotEnoughData(f"information: expected at least {fewest} patients; got {n_patients}")
    if min(float(np.var(side, axis=0).sum()) for side in (ecg, text)) < NO_VARIANCE:
        raise NotEnoughData("information: expected embeddings that differ; those of one side are all alike")
    information = estimate(ecg, text, groups, config.critic, ksg_pairs=config.ksg_pairs, seed=config.seed)
    shape = _geometry(ecg, text, encoded)
    values = {**information.values, **shape(np.arange(len(ecg)))}
    draws = {name: [] for name in values}
    for rows in halves_of(groups, config.halves, config.seed):
        for name, value in {**information.on(rows), **shape(rows)}.items():
            draws[name].append(value)
    return _rounded(
        {
            "n": len(ecg),
            "n_patients": len(np.unique(groups)),
            "estimates": {name: _with_interval(values[name], draws[name]) for name in information.values},
            "geometry": {
                name: _with_interval(values[name], draws[name], share="_in_" in name or "outside" in name)
                for name in values
                if name not in information.values
            },
            "log_n": float(np.log(len(ecg))),
            **information.about,
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


@dataclass(frozen=True)
class Estimates:
    """The three estimates on the same pairs, and what belongs to them."""

    values: dict[str, float]
    """info_nce, ksg, gaussian; nats. Without a critic there is no info_nce."""
    about: dict[str, Any]
    """ceilings, plain (without the correction for bias), shuffled, planted and no_vote; JSON-ready."""
    on: Callable[[np.ndarray], dict[str, float]]
    """The estimates on some rows, in directions of other patients."""


def estimate(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, critic: CriticConfig | None, *, ksg_pairs: int = 4, seed: int = 0
) -> Estimates:
    """Three estimates of the mutual information of rows x [N, d] and y [N, e], in directions of other patients.

    groups [N]: patients. critic: None leaves the InfoNCE bound out. ksg_pairs: leading canonical pairs that the
    nearest-neighbour estimate sees, at most. `no_vote`, estimator -> reason, names what cannot be trusted on pairs like
    these: the nearest-neighbour estimate where it does not find what is planted, or finds what is not there.
    """
    parts = cross_fit(x, y, groups, seed=seed)
    gaussian, nearest = gaussian_information(parts), _nearest(parts, ksg_pairs, seed)
    values = {"ksg": nearest.value, "gaussian": gaussian.value}
    ceilings = {"ksg": mean_over_parts(parts, lambda u, v: (ceiling(len(u), NEIGHBOURS), 0.0))[0]}
    contributions = None
    if critic is not None:
        bound = critic_information(x, y, groups, parts, replace(critic, seed=seed))
        contributions = bound.contributions
        values, ceilings = {"info_nce": bound.value} | values, {"info_nce": bound.ceiling} | ceilings
    wrong = np.random.default_rng([seed, 1]).permutation(len(x))
    dealt = cross_fit(x, y[wrong], groups, seed=seed)
    shuffled = {"ksg": _nearest(dealt, ksg_pairs, seed).value, "gaussian": gaussian_information(dealt).value}
    truth, *known = planted(x, y, choose(x, y, groups, seed=seed).correlations, seed=seed)
    again = cross_fit(*known, groups, seed=seed)
    recovered = {
        "truth": truth, "ksg": _nearest(again, ksg_pairs, seed).plain, "gaussian": gaussian_information(again).value
    }  # fmt: skip
    no_vote = {}
    if not abs(recovered["ksg"] - truth) <= TOLERANCE:
        no_vote["ksg"] = (
            f"of {truth:.2f} nats planted in Gaussians of the same number and covariance, it finds "
            f"{recovered['ksg']:.2f}"
        )
    elif not abs(shuffled["ksg"]) <= TOLERANCE:
        no_vote["ksg"] = f"with texts dealt out at random it finds {shuffled['ksg']:.2f} nats"

    def on(rows: np.ndarray) -> dict[str, float]:
        inside = np.zeros(len(x), dtype=bool)
        inside[rows] = True
        found = {} if contributions is None else {"info_nce": float(contributions[rows].mean())}
        found["ksg"] = _nearest(parts, ksg_pairs, seed, inside).value
        return found | {"gaussian": gaussian_information(parts, inside).value}

    about = {
        "ceilings": ceilings, "plain": {"ksg": nearest.plain, "gaussian": gaussian.plain}, "shuffled": shuffled,
        "planted": recovered, "no_vote": no_vote, "pairs": [len(part.choice.correlations) for part in parts],
    }  # fmt: skip
    return Estimates(values, about, on)


def _nearest(parts: Sequence[Part], ksg_pairs: int, seed: int, rows: np.ndarray | None = None) -> KsgInformation:
    """The nearest-neighbour estimate on the leading canonical pairs, over parts as in `mean_over_parts`."""

    def nearest(u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
        found = ksg_information(u[:, :ksg_pairs], v[:, :ksg_pairs], seed=seed)
        return found.value, found.plain

    return KsgInformation(*mean_over_parts(parts, nearest, rows))


def planted(
    x: np.ndarray, y: np.ndarray, correlations: np.ndarray, *, seed: int = 0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Known data like the data: its information in nats, and Gaussians of x's and y's covariances, as many rows.

    They share `correlations` [n], strengthened in proportion to `PLANTED` nats where they hold less, in directions
    drawn at random from all in which a side varies: what is shared need not lie where the variance is.
    """
    along = [principal(side)[1:] for side in (x, y)]
    nats = -0.5 * np.log1p(-(correlations[: min(len(variances) for variances, _ in along)] ** 2))
    nats = nats * max(1.0, PLANTED / nats.sum()) if nats.sum() > 0 else np.full(len(nats), PLANTED / len(nats))
    rho = np.sqrt(-np.expm1(-2 * nats))
    generator = np.random.default_rng([seed, 4])
    u, noise = generator.normal(size=(2, len(x), len(nats)))
    sides = []
    for (variances, axes), shared in zip(along, (u, rho * u + np.sqrt(1 - rho**2) * noise)):
        own = generator.normal(size=(len(x), len(variances)))
        turn = np.linalg.qr(generator.normal(size=(len(variances), len(nats))))[0]
        own += (shared - own @ turn) @ turn.T
        sides.append(own * np.sqrt(variances) @ axes.T)
    return float(nats.sum()), sides[0], sides[1]


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
