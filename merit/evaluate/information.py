"""Mutual information and geometry of paired ECG and text embeddings (Figure 3), with intervals over patients.

Three estimates of the same quantity, in nats, none of which scores what it was fitted on:

* Gaussian: I = −½ Σ log(1 − ρᵢ²) over canonical correlations, less the known bias of the sample's value. Embeddings
  have more directions than pairs can support, and an ECG's own may be louder than those that are shared: directions
  come from canonical correlation analysis with a ridge (Vinod 1976), its penalty and the number of pairs of directions
  chosen by cross-validation on other patients. Independent sides give 0, imperfect directions too little.
* KSG: from distances to nearest neighbours (Kraskov, Stögbauer and Grassberger 2004, estimator 1). With strong
  dependence in more than two or three dimensions and a few thousand pairs its value is too low; by how much is measured
  on Gaussians of the same covariance and number, and taken off.
* InfoNCE (Oord et al. 2018): a lower bound by a critic that is trained afterwards, the same for each objective on its
  frozen embeddings: the temperature and heads that an objective was trained with would favour it.

Legend: N pairs, d and e columns of both sides, n canonical pairs, D encoder width, K pairs of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.special import digamma

from merit.evaluate.tasks import NotEnoughData
from merit.intervals import Z
from merit.parallel import MAX_THREADS, one_thread_an_operation, usable_cores

if TYPE_CHECKING:
    from torch import Tensor

PENALTIES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-6)
"""Ridge penalties that are tried, as shares of a side's mean variance along its directions."""
FOLDS = 4  # parts by patient: the directions of each are fitted on the others
INNER_FOLDS = 3  # parts of the fitting patients by which penalty and number of pairs are chosen
MOST_PAIRS = 64
ROWS_A_PAIR = 8  # rows of a part for each canonical pair that is estimated on it
SMALLEST = 1e-10  # share of the largest variance under which a direction is rounding error
HIGHEST = 1 - 1e-9  # correlation that one of 1 is taken for, so that what is shared entirely has a number
KSG_NEIGHBOURS = 3
KSG_SURROGATES = 2
CLIP = 4.0  # the critic's inputs are cut at this many standard deviations: a square of an outlier would rule the batch
SPAN = 0.99  # share of a cloud's variance that its span keeps
COVERAGE_NEIGHBOURS = 10  # the radius of a point of a cloud reaches to this neighbour within the cloud
FEWEST = 60  # pairs with distinct reports under which nothing is estimated
NO_VARIANCE = 1e-12  # variance of unit vectors under which they are all alike
DIGITS = 10  # decimals that are kept: the last bits of linear algebra depend on the number of cores
TOLERANCE = 0.2  # nats by which an estimate may miss what is planted before it has no vote
PLANTED = 1.0  # nats that are planted at least


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """The critic of the InfoNCE bound and its training; the same for every objective."""

    width: int = 64
    """Hidden units of each network."""
    fewest_pairs: int = 4
    """Canonical pairs that it sees though fewer are correlated: what is shared may show in no correlation."""
    batch: int = 128
    epochs: int = 40
    """Most passes; the pass with the best bound on a sixth of the training patients is kept."""
    patience: int = 5
    """Passes without a better bound after which training stops."""
    learning_rate: float = 3e-3
    weight_decay: float = 0.01


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


class Estimate(NamedTuple):
    """An estimate of mutual information, nats."""

    value: float
    """Bias taken off; can be slightly below 0."""
    plain: float
    ceiling: float = np.nan
    """The most that the estimator can give for as many pairs; NaN: no limit."""


# ---------------------------------------------------------------- canonical directions, fitted on other patients


class CanonicalFrame(NamedTuple):
    """How to turn both sides into n canonical variables, each of variance 1 on the rows that it was fitted on."""

    means: tuple[np.ndarray, np.ndarray]
    directions: tuple[np.ndarray, np.ndarray]

    def variables(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[N, n] and [N, n] of rows x [N, d] and y [N, e]."""
        u, v = ((side - m) @ d for side, m, d in zip((x, y), self.means, self.directions))
        return u, v


def canonical_frames(
    x: np.ndarray, y: np.ndarray, penalties: Sequence[float], n_pairs: int
) -> Iterator[CanonicalFrame]:
    """For each ridge penalty λ a frame on rows x [N, d] and y [N, e]: singular vectors of
    (C_xx + λ s_x)^−½ C_xy (C_yy + λ s_y)^−½, s the mean variance; `n_pairs`, or fewer where a side varies in fewer.
    """
    (mean_x, var_x, axes_x), (mean_y, var_y, axes_y) = (principal(side) for side in (x, y))
    cross = axes_x.T @ ((x - mean_x).T @ (y - mean_y) / (len(x) - 1)) @ axes_y
    for penalty in penalties:
        by_x, by_y = (1 / np.sqrt(var + penalty * var.mean()) for var in (var_x, var_y))
        left, _, right = np.linalg.svd(by_x[:, None] * cross * by_y, full_matrices=False)
        n = min(n_pairs, len(right))
        both = []
        for axes, var, by, turn in ((axes_x, var_x, by_x, left[:, :n]), (axes_y, var_y, by_y, right[:n].T)):
            turn = by[:, None] * turn
            both.append(axes @ (turn / np.sqrt(var @ turn**2)))
        yield CanonicalFrame((mean_x, mean_y), (both[0], both[1]))


class Part(NamedTuple):
    """The rows of some patients in canonical variables that were fitted on the other patients."""

    rows: np.ndarray
    u: np.ndarray
    v: np.ndarray
    """Of x and of y, float64 [rows, n]."""
    penalty: float
    correlations: np.ndarray
    """float64 [n]; chosen on the other patients, as the penalty, by `choose`."""


def cross_fit(x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> list[Part]:
    """`FOLDS` parts by group, each in canonical variables of the others; every row of x [N, d] and y [N, e] once.

    groups [N]: patients. ValueError where a part would hold fewer than 2 pairs.
    """
    fold = fold_of(groups, FOLDS, seed)
    fewest = int(np.bincount(fold, minlength=FOLDS).min())
    if fewest < 2:
        raise ValueError(f"pairs: expected at least 2 in each of {FOLDS} parts by patient; got {len(x)} pairs")
    x, y = (np.asarray(side, dtype=np.float64) for side in (x, y))
    parts = []
    for f in range(FOLDS):
        train, test = fold != f, np.flatnonzero(fold == f)
        most = max(1, fewest // ROWS_A_PAIR)
        penalty, correlations = choose(x[train], y[train], groups[train], most=most, seed=seed)
        frame = next(canonical_frames(x[train], y[train], (penalty,), len(correlations)))
        parts.append(Part(test, *frame.variables(x[test], y[test]), penalty, correlations))
    return parts


def choose(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, most: int = MOST_PAIRS, seed: int = 0
) -> tuple[float, np.ndarray]:
    """The penalty and the canonical pairs, at most `most`, that show most on groups left out, with their correlations.

    A pair of directions counts by the information of its correlation r on rows that it was not fitted on,
    −N/2 log(1 − r²), less 1, what chance gives at 1.4 standard errors; a negative r counts against it.
    """
    fold = fold_of(groups, INNER_FOLDS, seed + 1)
    most = min(most, MOST_PAIRS, x.shape[1], y.shape[1])
    correlations = np.zeros((len(PENALTIES), most))
    for f in range(INNER_FOLDS):
        train, test = fold != f, fold == f
        for i, frame in enumerate(canonical_frames(x[train], y[train], PENALTIES, most)):
            u, v = frame.variables(x[test], y[test])
            norms = np.sqrt((u**2).sum(axis=0) * (v**2).sum(axis=0))
            r = np.divide((u * v).sum(axis=0), norms, out=np.zeros_like(norms), where=norms > 0)
            correlations[i, : len(r)] += r * np.mean(test)
    correlations = np.clip(correlations, -HIGHEST, HIGHEST)
    gains = -0.5 * len(x) * np.sign(correlations) * np.log1p(-(correlations**2)) - 1
    # Rounded, so that the last bits of linear algebra decide nothing; of equals, the stronger penalty and fewer pairs.
    i, last = np.unravel_index(np.round(gains.cumsum(axis=1), 6).argmax(), gains.shape)
    return PENALTIES[i], np.maximum(correlations[i, : last + 1], 0.0)


def principal(side: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [d], variances [k] and axes [d, k] of the directions in which the rows vary, largest first, signs fixed."""
    mean = side.mean(axis=0)
    variances, axes = np.linalg.eigh((side - mean).T @ (side - mean) / (len(side) - 1))
    variances, axes = np.maximum(variances[::-1], np.finfo(float).tiny), axes[:, ::-1]
    varies = variances >= SMALLEST * variances[0]
    axes = axes[:, varies] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(variances))])[varies]
    return mean, variances[varies], axes


def fold_of(groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """int [N]: a random fold for each row, whole groups in one."""
    names, place = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % n_folds)[place]


def mean_over_parts(
    parts: Sequence[Part], estimate: Callable[[np.ndarray, np.ndarray], Estimate], rows: np.ndarray | None = None
) -> Estimate:
    """The mean of `estimate(u, v)` over parts, each weighted by its pairs; NaN where none has enough of them.

    rows: bool [N], the pairs that count; None: all. Parts with too few pairs for their variables are left out.
    """
    estimates, sizes = [], []
    for part in parts:
        here = slice(None) if rows is None else rows[part.rows]
        u, v = part.u[here], part.v[here]
        if len(u) > 2 * u.shape[1] + 2:
            estimates.append(estimate(u, v))
            sizes.append(len(u))
    if not estimates:
        return Estimate(np.nan, np.nan)
    return Estimate(*np.average(estimates, axis=0, weights=sizes).tolist())


# ---------------------------------------------------------------- the Gaussian estimate


def gaussian_information(u: np.ndarray, v: np.ndarray) -> Estimate:
    """Mutual information of rows u [N, p] and v [N, q] under the Gaussian assumption, N > p + q.

    The sample's value is too high, whatever the correlations: E log det S − log det Σ = Σᵢ ψ((n − i)/2) +
    p log(2/(n − 1)), i = 1…p, for the covariance S of n rows; in half of (side + side − both) the last term cancels.
    """
    n, p, q = len(u), u.shape[1], v.shape[1]
    plain = from_correlations(np.minimum(canonical_correlations(u, v), HIGHEST))
    of_p, of_q, of_both = (float(digamma((n - np.arange(1, width + 1)) / 2).sum()) for width in (p, q, p + q))
    return Estimate(plain - 0.5 * (of_p + of_q - of_both), plain)


def canonical_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The min(p, q) canonical correlations of two samples [N, p] and [N, q], falling (Hotelling 1936)."""
    bases = [np.linalg.qr(side - side.mean(axis=0))[0] for side in (a, b)]
    return np.clip(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False), 0.0, 1.0)


def from_correlations(correlations: np.ndarray) -> float:
    """−½ Σ log(1 − ρ²), nats; infinite where a correlation is 1."""
    with np.errstate(divide="ignore"):
        return float(-0.5 * np.log1p(-(correlations**2)).sum())


# ---------------------------------------------------------------- the nearest-neighbour estimate


def ksg(x: np.ndarray, y: np.ndarray, k: int = KSG_NEIGHBOURS) -> float:
    """Mutual information of rows x [N, p] and y [N, q], nats: ψ(k) + ψ(N) − ⟨ψ(nx + 1) + ψ(ny + 1)⟩ (Eq. 8).

    nx, ny: other points nearer than the k-th neighbour in the joint space, maximum norm. At most ψ(N) − ψ(k): every
    marginal box then holds its k points alone. Made for continuous values: ties (one report many times) must be taken
    out before. ValueError for N ≤ k.
    """
    if len(x) != len(y) or len(x) <= k:
        raise ValueError(f"pairs: expected two sides of the same number, more than k = {k}; got {len(x)} and {len(y)}")
    both = np.hstack([x, y])
    distance = cKDTree(both).query(both, [k + 1], p=np.inf)[0][:, 0]
    inside = np.nextafter(distance, 0)  # strictly nearer
    counts = [cKDTree(z).query_ball_point(z, inside, p=np.inf, return_length=True) for z in (x, y)]
    return float(digamma(k) + digamma(len(x)) - np.mean(digamma(counts[0]) + digamma(counts[1])))


def ksg_information(x: np.ndarray, y: np.ndarray, *, seed: int = 0) -> Estimate:
    """The estimator's value less its mean error on Gaussians of the same covariance and number of pairs.

    x, y: as for `ksg`, without constant directions. Exact for Gaussians up to noise; for others it takes off what the
    dependence's strength and the dimensions cause. Near its ceiling it says little more than the Gaussian estimate.
    """
    plain, ceiling = ksg(x, y), float(digamma(len(x)) - digamma(KSG_NEIGHBOURS))
    correlations = np.minimum(canonical_correlations(x, y), HIGHEST)
    n, p, q = len(correlations), x.shape[1], y.shape[1]
    # Errors depend on the frame, so the surrogates are turned from canonical variables to the frames of x and y.
    (q_x, r_x), (q_y, r_y) = (np.linalg.qr(side - side.mean(axis=0)) for side in (x, y))
    left, _, right = np.linalg.svd(q_x.T @ q_y)
    turn_x, turn_y = (turn @ r / np.sqrt(len(x) - 1) for turn, r in ((left.T, r_x), (right, r_y)))
    generator, errors = np.random.default_rng(seed), []
    for _ in range(KSG_SURROGATES):
        u, v = generator.normal(size=(2, len(x), max(p, q)))
        v[:, :n] = correlations * u[:, :n] + np.sqrt(1 - correlations**2) * v[:, :n]
        errors.append(ksg(u[:, :p] @ turn_x, v[:, :q] @ turn_y) - from_correlations(correlations))
    return Estimate(min(plain - float(np.mean(errors)), ceiling), plain, ceiling)


# ---------------------------------------------------------------- the InfoNCE bound


def bound_contributions(scores: np.ndarray) -> np.ndarray:
    """float64 [K]: log K plus the mean of both directions' log-softmax on the diagonal of scores [K, K] (Eq. 3)."""
    over = [np.logaddexp.reduce(scores, axis=axis) for axis in (0, 1)]
    return np.log(len(scores)) + np.diag(scores) - 0.5 * (over[0] + over[1])


def critic_information(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, parts: Sequence[Part], config: CriticConfig, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """InfoNCE bound on the mutual information of rows x [N, d] and y [N, e]: contributions, whose mean is the bound,
    and ceilings, log of the pairs that each is scored among; float64 [N], nats, the same on any number of threads.

    groups [N]: patients. parts: of `cross_fit` on the same rows; each is scored by a critic, and in directions, of the
    others. Every report must occur once: a second copy would be a wrong negative. The critic is separable (Poole et al.
    2019): a product of two small networks, one a side, and a term of each side alone, on canonical variables. It starts
    as the ratio of Gaussian densities, so that a thousand pairs are enough to train it. Chosen is the pass with the
    best bound on a held-out sixth of the patients, among them none at all, and the critic that is 0 and bounds nothing.
    """
    import torch

    contributions, ceilings = np.zeros(len(x)), np.zeros(len(x))

    def scores(towers: list[list[Tensor]], sides: Sequence[Tensor]) -> Tensor:
        """[K, K]: row i holds the scores of the ECG side's row i with every row of the other side."""
        products, alone = [], []
        for side, (linear, squares, hidden, bias, out) in zip(sides, towers):
            more = (side @ hidden + bias).relu() @ out
            products.append(side @ linear + more[:, :-1])
            alone.append(side**2 @ squares + more[:, -1])
        return products[0] @ products[1].T + alone[0][:, None] + alone[1]

    def info_nce(scores: Tensor) -> Tensor:
        """Eq. 3 for scores [K, K]: the mean of both directions' cross-entropy, nats."""
        own = scores.diagonal().mean()
        return 0.5 * (scores.logsumexp(0).mean() + scores.logsumexp(1).mean()) - own

    def score_part(f: int) -> None:
        # The frame and the critic are fitted on the other parts, without a sixth of their patients.
        part = parts[f]
        others = np.setdiff1d(np.arange(len(x)), part.rows)
        inner = fold_of(groups[others], 6, seed + 1) == 0
        fitted = others[~inner]
        n_pairs = max(len(part.correlations), config.fewest_pairs)
        frame = next(canonical_frames(x[fitted], y[fitted], (part.penalty,), n_pairs))
        variables = [frame.variables(x[rows], y[rows]) for rows in (fitted, others[inner], part.rows)]
        training, validation, scored = (
            [torch.from_numpy(np.clip(side, -CLIP, CLIP).astype(np.float32)) for side in sides] for sides in variables
        )

        # Both sides start at log p(u, v) / p(u) p(v) = Σ (ρ u v − ½ ρ² (u² + v²)) / (1 − ρ²) + constant; the hidden
        # units add nothing at first. Weights of a side: linear, squares, hidden, bias, out.
        rho = torch.zeros(training[0].shape[1])
        known = np.minimum(part.correlations[: len(rho)], 0.999).astype(np.float32)
        rho[: len(known)] = torch.from_numpy(known)
        generator = torch.Generator().manual_seed(1000 * seed + f)
        towers = [
            [
                torch.diag((rho / (1 - rho**2)).sqrt()),
                -0.5 * rho**2 / (1 - rho**2),
                torch.randn(len(rho), config.width, generator=generator) / len(rho) ** 0.5,
                torch.zeros(config.width),
                torch.zeros(config.width, len(rho) + 1),
            ]
            for _ in training
        ]
        weights = [w.requires_grad_() for tower in towers for w in tower]
        optimiser = torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)

        order = np.random.default_rng((seed, f))
        best, best_towers, waited = 0.0, [[torch.zeros_like(w) for w in tower] for tower in towers], 0
        n_batches = -(-len(training[0]) // config.batch)
        for epoch in range(config.epochs + 1):
            for rows in np.array_split(order.permutation(len(training[0])), n_batches) if epoch else []:
                loss = info_nce(scores(towers, [side[rows] for side in training]))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                bound = float(np.log(len(validation[0])) - info_nce(scores(towers, validation)))
            waited += 1
            if bound > best:
                best, best_towers, waited = bound, [[w.detach().clone() for w in tower] for tower in towers], 0
            if waited > config.patience:
                break
        contributions[part.rows] = bound_contributions(scores(best_towers, scored).double().numpy())
        ceilings[part.rows] = np.log(len(part.rows))

    with one_thread_an_operation(), ThreadPoolExecutor(min(len(parts), MAX_THREADS, usable_cores())) as threads:
        list(threads.map(score_part, range(len(parts))))
    return contributions, ceilings


# ---------------------------------------------------------------- geometry: how two clouds lie to each other


def spectrum(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Effective rank of rows x [N, d], exp of the entropy of the normalised eigenvalues of their covariance (Roy and
    Vetterli 2007, its singular values): 1 for a line, d for a ball, NaN where nothing varies. And their span [d, n]:
    the fewest leading principal directions that hold `SPAN` of the variance.
    """
    centred = np.asarray(x, dtype=np.float64) - x.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred / len(x))
    values, directions = np.maximum(values[::-1], 0.0), directions[:, ::-1]
    n = int(np.searchsorted(np.cumsum(values), SPAN * values.sum() * (1 - 1e-12)) + 1)
    if values.sum() <= 0:
        return np.nan, directions[:, :n]
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum())), directions[:, :n]


def outside(x: np.ndarray, directions: np.ndarray) -> float:
    """Share of the variance of x [N, d] about its centroid outside a span [d, n]; NaN where x does not vary. A cloud
    without direction has 1 − n / d outside.
    """
    centred = np.asarray(x, dtype=np.float64) - x.mean(axis=0)
    total = (centred**2).sum()
    return float(1 - ((centred @ directions) ** 2).sum() / total) if total > 0 else np.nan


def coverage(to_cloud: np.ndarray, within_cloud: np.ndarray, k: int = COVERAGE_NEIGHBOURS) -> float:
    """Share of points that lie within the radius of some point of a cloud: the distance to its k-th neighbour there
    (Kynkäänniemi et al. 2019, recall). Distances [points, cloud] and [cloud, cloud]; NaN for k points or fewer.
    """
    if len(within_cloud) <= k:
        return np.nan
    radius = np.partition(within_cloud, k, axis=1)[:, k]
    return float((to_cloud <= radius).any(axis=1).mean())


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances [N, R] of rows x [N, d] and y [R, d]."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0.0))


def geometry(
    ecg: np.ndarray, text: np.ndarray, encoded: np.ndarray, apart: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, float]:
    """How clouds ecg [N, d] and text [R, d] lie to each other, and the rank of `encoded` [N, D], before projection.

    gap: distance of the centroids; relative_gap: its ratio to the root mean square distance of points from their own
    centroid, above 1 where the clouds are farther apart than wide. spread: total variance, at most 1 for points of
    length 1. apart: ending of a name -> `distances` within the ECG cloud, within the text cloud, and between them.
    """
    gap = float(np.linalg.norm(ecg.mean(axis=0) - text.mean(axis=0)))
    spreads = [float(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()) for x in (ecg, text)]
    within = np.sqrt((spreads[0] + spreads[1]) / 2)
    (ecg_rank, ecg_span), (text_rank, text_span) = spectrum(ecg), spectrum(text)
    values = {
        "gap": gap,
        "relative_gap": float(gap / within) if within > 0 else np.nan,
        "ecg_spread": spreads[0],
        "text_spread": spreads[1],
        "ecg_rank": ecg_rank,
        "text_rank": text_rank,
        "encoder_rank": spectrum(encoded)[0],
        "ecg_outside_text": outside(ecg, text_span),
        "text_outside_ecg": outside(text, ecg_span),
        "text_span": float(text_span.shape[1]),
        "ecg_span": float(ecg_span.shape[1]),
    }
    for name, (in_ecg, in_text, between) in apart.items():
        values[f"text_in_ecg{name}"] = coverage(between.T, in_ecg)
        values[f"ecg_in_text{name}"] = coverage(between, in_text)
    return values


# ---------------------------------------------------------------- one encoder's pairs


def one_per_report(reports: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Positions, rising, of one recording drawn at random for each distinct report; at most `most` of them."""
    order = np.random.default_rng(seed).permutation(len(reports))
    first: dict[str, int] = {}
    for position in order.tolist():
        first.setdefault(reports[position], position)
    return np.sort(np.array(list(first.values())[:most], dtype=np.int64))


def halves_of(groups: np.ndarray, n: int, seed: int) -> list[np.ndarray]:
    """n times the rows of a random half of the groups; the same for the same groups and seed."""
    names, place = np.unique(groups, return_inverse=True)
    generator = np.random.default_rng([seed, 2])
    return [np.flatnonzero(np.isin(place, generator.permutation(len(names))[: len(names) // 2])) for _ in range(n)]


def estimate(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    critic: CriticConfig | None,
    *,
    ksg_pairs: int = 4,
    seed: int = 0,
    halves: Sequence[np.ndarray] = (),
) -> tuple[dict[str, dict[str, Any]], list[dict[str, float]]]:
    """Three estimates of the mutual information of rows x [N, d] and y [N, e], in directions of other patients.

    groups [N]: patients. critic: None leaves the InfoNCE bound out. ksg_pairs: leading canonical pairs that the
    nearest-neighbour estimate sees, at most. Returns for info_nce, ksg and gaussian, in nats: value, ceiling, plain
    (bias left in), shuffled (texts dealt out at random), planted (of planted_truth, what is found) and no_vote, why it
    cannot be trusted on pairs like these; and the values on each of `halves`, places of rows, in the same directions.
    """

    def nearest(u: np.ndarray, v: np.ndarray) -> Estimate:
        return ksg_information(u[:, :ksg_pairs], v[:, :ksg_pairs], seed=seed)

    parts = cross_fit(x, y, groups, seed=seed)
    estimates: dict[str, dict[str, Any]] = {}
    if critic is not None:
        contributions, highest = critic_information(x, y, groups, parts, critic, seed)
        estimates["info_nce"] = {"value": float(contributions.mean()), "ceiling": float(highest.mean())}
    shuffled = cross_fit(x, y[np.random.default_rng([seed, 1]).permutation(len(x))], groups, seed=seed)
    truth, *known = planted(x, y, choose(x, y, groups, seed=seed)[1], seed=seed)
    again = cross_fit(*known, groups, seed=seed)
    for name, of in (("ksg", nearest), ("gaussian", gaussian_information)):
        own, of_known = mean_over_parts(parts, of), mean_over_parts(again, of)
        estimates[name] = {
            "value": own.value,
            "plain": own.plain,
            **({"ceiling": own.ceiling} if name == "ksg" else {}),
            "shuffled": mean_over_parts(shuffled, of).value,
            "planted": of_known.plain if name == "ksg" else of_known.value,
            "planted_truth": truth,
        }
    of_ksg = estimates["ksg"]
    if not abs(of_ksg["planted"] - truth) <= TOLERANCE:
        of_ksg["no_vote"] = (
            f"of {truth:.2f} nats planted in Gaussians of the same number and covariance, it finds "
            f"{of_ksg['planted']:.2f}"
        )
    elif not abs(of_ksg["shuffled"]) <= TOLERANCE:
        of_ksg["no_vote"] = f"with texts dealt out at random it finds {of_ksg['shuffled']:.2f} nats"

    on_halves = []
    for rows in halves:
        inside = np.isin(np.arange(len(x)), rows)
        on_half = {} if critic is None else {"info_nce": float(contributions[rows].mean())}
        for name, of in (("ksg", nearest), ("gaussian", gaussian_information)):
            on_half[name] = mean_over_parts(parts, of, inside).value
        on_halves.append(on_half)
    n_pairs = [len(part.correlations) for part in parts]
    return {name: {**of, "canonical_pairs": n_pairs} for name, of in estimates.items()}, on_halves


def planted(
    x: np.ndarray, y: np.ndarray, correlations: np.ndarray, *, seed: int = 0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Known data like the data: its information in nats, and Gaussians of x's and y's covariances, as many rows.

    They share `correlations` [n], strengthened to `PLANTED` nats where they hold less, in directions drawn at random
    from all in which a side varies: what is shared need not lie where the variance is.
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


def measure(
    ecg: np.ndarray, text: np.ndarray, encoded: np.ndarray, groups: np.ndarray, config: InformationConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one encoder, one row per number of the information and the geometry; and points of the picture.

    ecg, text: [N, d] of length 1, row i of a pair, every report once; encoded: [N, D] before the projection; groups
    [N]: patients. Intervals come from the spread over halves of the patients (`merit.intervals`): resampling with
    replacement would make ties, which no nearest-neighbour estimate survives. `draws` are the halves' deviations from
    their mean. Points: x and y on the joint principal plane by side. NotEnoughData under `FEWEST` pairs.
    """
    if len(ecg) < FEWEST:
        raise NotEnoughData(f"information: expected at least {FEWEST} pairs with distinct reports; got {len(ecg)}")
    n_patients, fewest = len(np.unique(groups)), 4 * FOLDS
    if n_patients < fewest:
        raise NotEnoughData(f"information: expected at least {fewest} patients; got {n_patients}")
    if min(float(np.var(side, axis=0).sum()) for side in (ecg, text)) < NO_VARIANCE:
        raise NotEnoughData("information: expected embeddings that differ; those of one side are all alike")
    halves = halves_of(groups, config.halves, config.seed)
    asked = {"ksg_pairs": config.ksg_pairs, "seed": config.seed, "halves": halves}
    estimates, on_halves = estimate(ecg, text, groups, config.critic, **asked)
    clouds = {"": (ecg, text), "_centred": (ecg - ecg.mean(axis=0), text - text.mean(axis=0))}
    apart = {name: (distances(x, x), distances(y, y), distances(x, y)) for name, (x, y) in clouds.items()}
    numbers = estimates | {name: {"value": value} for name, value in geometry(ecg, text, encoded, apart).items()}
    for on_half, half in zip(on_halves, halves):
        near = {name: [between[np.ix_(half, half)] for between in of] for name, of in apart.items()}
        on_half |= geometry(ecg[half], text[half], encoded[half], near)

    size = {"n": len(ecg), "n_patients": n_patients, "log_n": float(np.log(len(ecg)))}
    rows = []
    for name, number in numbers.items():
        value, away = number["value"], np.asarray([on_half[name] for on_half in on_halves], dtype=float)
        away = away - np.mean(away)
        reach = Z * float(np.std(away, ddof=1)) if len(away) > 1 else np.nan
        row = {**size, "metric": name, **number}
        if np.isfinite([value, reach]).all():
            ends = np.array([value - reach, value + reach])
            share = "_in_" in name or "outside" in name
            row["low"], row["high"] = (np.clip(ends, 0.0, 1.0) if share else ends).tolist()
            row["draws"] = np.round(away, 5).tolist()
        rows.append({key: round(entry, DIGITS) if isinstance(entry, float) else entry for key, entry in row.items()})

    # Both clouds on the first two principal components of their union, each cloud with the same weight; signs fixed.
    middle = (ecg.mean(axis=0) + text.mean(axis=0)) / 2
    moments = sum((side - middle).T @ (side - middle) / len(side) for side in map(np.float64, (ecg, text)))
    variances, directions = np.linalg.eigh(moments)
    two = directions[:, ::-1][:, :2]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), range(two.shape[1])])
    for k, share in enumerate(variances[::-1][:2] / max(variances.sum(), np.finfo(float).tiny)):
        rows.append({**size, "metric": f"plane_share_{k + 1}", "value": round(float(share), DIGITS)})
    chosen = np.sort(np.random.default_rng([config.seed, 3]).permutation(len(ecg))[: config.most_points])
    points = [
        pd.DataFrame(np.round(((side - middle) @ two)[chosen], 3), columns=["x", "y"]).assign(side=name)
        for name, side in (("ecg", ecg), ("text", text))
    ]
    return pd.DataFrame(rows), pd.concat(points, ignore_index=True)


# ---------------------------------------------------------------- pairs of known information


SHAPES = {"gaussian": lambda z: z, "cubed": lambda z: z**3}


def known_pairs(
    shape: str, width: int, nats: float, n: int, seed: int, *, private: tuple[int, int] = (0, 0), scale: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float64 [n, width + private] each, of mutual information `nats`; shape: gaussian or cubed.

    d independent couples of Gaussians of one correlation have I = −d/2 log(1 − ρ²), and so have their cubes, which are
    far from Gaussian. private: directions that each side has for itself, `scale` times as loud as those that are
    shared; both sides are then turned at random, so that no column is a direction.
    """
    if shape not in SHAPES:
        raise ValueError(f"shape: expected one of {', '.join(SHAPES)}; got {shape!r}")
    correlation = np.sqrt(1 - np.exp(-2 * nats / width))
    x, noise = np.random.default_rng([seed, width, round(1000 * nats), n]).normal(size=(2, n, width))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    generator, sides = np.random.default_rng([seed, *private]), []
    for side, own in zip((x, y), private):
        side = np.hstack([SHAPES[shape](side), scale * generator.normal(size=(n, own))])
        turn = np.linalg.qr(generator.normal(size=(side.shape[1],) * 2))[0]
        sides.append(side @ turn if own else side)
    return sides[0], sides[1]
