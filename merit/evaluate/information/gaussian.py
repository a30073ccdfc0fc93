"""Directions that two embeddings share, and their mutual information if both were jointly Gaussian.

For Gaussians I = −½ Σ log(1 − ρᵢ²) over the canonical correlations, in nats. Embeddings have more directions than pairs
can support, and those of most variance need not be those that are shared: an ECG's own directions may be louder. So
directions come from canonical correlation analysis with a ridge (Vinod 1976), its penalty and the number of pairs of
directions chosen by cross-validation, all on other patients than those on whom information is then estimated. What was
fitted has not seen what is estimated, so independent sides give 0, and directions that are found imperfectly give too
little. Within a part, the sample's value for Gaussians is too high by a known amount (the expected
log-determinant of a Wishart matrix), which is taken off. Legend: N pairs, d and e columns, n canonical pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

PENALTIES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-6)
"""Ridge penalties that are tried, as shares of a side's mean variance along its directions."""
FOLDS = 4
"""Parts by patient: the directions of each are fitted on the others."""
INNER_FOLDS = 3
"""Parts of the fitting patients by which penalty and number of pairs are chosen."""
MOST_PAIRS = 64
ROWS_A_PAIR = 8
"""Rows of a part for each canonical pair that is estimated on it."""
SMALLEST = 1e-10
"""Share of the largest variance under which a direction is rounding error."""
HIGHEST = 1 - 1e-9
"""Correlation that one of 1 is taken for, so that what is shared entirely has a number."""


@dataclass(frozen=True)
class CanonicalFrame:
    """How to turn both sides into n canonical variables, each of variance 1 on the rows that it was fitted on."""

    means: tuple[np.ndarray, np.ndarray]
    directions: tuple[np.ndarray, np.ndarray]
    """[d, n] and [e, n]."""

    @classmethod
    def fitted(cls, x: np.ndarray, y: np.ndarray, penalty: float, n_pairs: int) -> CanonicalFrame:
        """On rows x [N, d] and y [N, e]; n: `n_pairs` or the fewer of both sides' directions."""
        return next(_frames(x, y, (penalty,), n_pairs))

    def variables(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[N, n] and [N, n]."""
        u, v = ((side - m) @ d for side, m, d in zip((x, y), self.means, self.directions))
        return u, v


@dataclass(frozen=True)
class Choice:
    """What cross-validation chose on some patients."""

    penalty: float
    correlations: np.ndarray
    """float64 [n]: of each canonical pair, on patients that its directions were not fitted on; not below 0."""


@dataclass(frozen=True)
class Part:
    """The rows of some patients in canonical variables that were fitted on the other patients."""

    rows: np.ndarray
    u: np.ndarray
    """float64 [rows, n]: of x."""
    v: np.ndarray
    """float64 [rows, n]: of y."""
    choice: Choice


@dataclass(frozen=True)
class GaussianInformation:
    """An estimate and what it rests on."""

    value: float
    """Nats, bias taken off; can be slightly below 0."""
    plain: float
    """Nats, as the sample has it."""


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
        choice = choose(x[train], y[train], groups[train], most=max(1, fewest // ROWS_A_PAIR), seed=seed)
        frame = CanonicalFrame.fitted(x[train], y[train], choice.penalty, len(choice.correlations))
        parts.append(Part(test, *frame.variables(x[test], y[test]), choice))
    return parts


def gaussian_information(parts: Sequence[Part], rows: np.ndarray | None = None) -> GaussianInformation:
    """Mutual information under the Gaussian assumption, over parts as in `mean_over_parts`."""

    def estimate(u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
        plain = from_correlations(np.minimum(canonical_correlations(u, v), HIGHEST))
        return plain - wishart_bias(len(u), u.shape[1], v.shape[1]), plain

    return GaussianInformation(*mean_over_parts(parts, estimate, rows))


def mean_over_parts(
    parts: Sequence[Part], estimate: Callable[[np.ndarray, np.ndarray], tuple[float, float]],
    rows: np.ndarray | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Both numbers of `estimate(u, v)`, each part weighted by its pairs.

    rows: bool [N], the pairs that count; None: all. Parts with too few pairs for their canonical variables are left
    out; NaN where none is left.
    """
    found, sizes = [], []
    for part in parts:
        here = slice(None) if rows is None else rows[part.rows]
        u, v = part.u[here], part.v[here]
        if len(u) > 2 * u.shape[1] + 2:
            found.append(estimate(u, v))
            sizes.append(len(u))
    if not found:
        return float("nan"), float("nan")
    first, second = np.average(found, axis=0, weights=sizes).tolist()
    return first, second


def choose(x: np.ndarray, y: np.ndarray, groups: np.ndarray, *, most: int = MOST_PAIRS, seed: int = 0) -> Choice:
    """The penalty and the number of canonical pairs, at most `most`, that show most on groups left out.

    A pair of directions counts by the information of its correlation r on rows that it was not fitted on,
    −N/2 log(1 − r²), less 1, what chance gives at 1.4 standard errors; a negative r counts against it.
    """
    fold = fold_of(groups, INNER_FOLDS, seed + 1)
    most = min(most, MOST_PAIRS, x.shape[1], y.shape[1])
    correlations = np.zeros((len(PENALTIES), most))
    for f in range(INNER_FOLDS):
        train, test = fold != f, fold == f
        for i, frame in enumerate(_frames(x[train], y[train], PENALTIES, most)):
            u, v = frame.variables(x[test], y[test])
            norms = np.sqrt((u**2).sum(axis=0) * (v**2).sum(axis=0))
            r = np.divide((u * v).sum(axis=0), norms, out=np.zeros_like(norms), where=norms > 0)
            correlations[i, : len(r)] += r * np.mean(test)
    correlations = np.clip(correlations, -HIGHEST, HIGHEST)
    gains = -0.5 * len(x) * np.sign(correlations) * np.log1p(-(correlations**2)) - 1
    # Rounded, so that the last bits of linear algebra decide nothing; of equals, the stronger penalty and fewer pairs.
    i, last = np.unravel_index(np.round(gains.cumsum(axis=1), 6).argmax(), gains.shape)
    return Choice(PENALTIES[i], np.maximum(correlations[i, : last + 1], 0.0))


def _frames(x: np.ndarray, y: np.ndarray, penalties: Sequence[float], n_pairs: int) -> Iterator[CanonicalFrame]:
    """A frame for each penalty λ: singular vectors of (C_xx + λ s_x)^−½ C_xy (C_yy + λ s_y)^−½, s the mean variance."""
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


def principal(side: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [d], variances [k] and axes [d, k] of the directions in which the rows vary, largest first, signs fixed."""
    mean = side.mean(axis=0)
    variances, axes = np.linalg.eigh((side - mean).T @ (side - mean) / (len(side) - 1))
    variances, axes = np.maximum(variances[::-1], np.finfo(float).tiny), axes[:, ::-1]
    kept = variances >= SMALLEST * variances[0]
    axes = axes[:, kept] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(variances))])[kept]
    return mean, variances[kept], axes


def canonical_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The min(p, q) canonical correlations of two samples [N, p] and [N, q], falling (Hotelling 1936)."""
    bases = [np.linalg.qr(side - side.mean(axis=0))[0] for side in (a, b)]
    return np.clip(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False), 0.0, 1.0)


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


def fold_of(groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """int [N]: a fold for each row, whole groups in one, dealt out at random."""
    names, place = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % n_folds)[place]
