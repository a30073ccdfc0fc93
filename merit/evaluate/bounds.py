"""The bounds of the paper's Section 3 where both sides are known: closed forms, and draws under them.

Legend: N pairs, B batch, d hidden samples; `left`, `right`, `given`, `wanted`, `visible`, `hidden`: positions of
coordinates, int arrays. Nats throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from merit import intervals

if TYPE_CHECKING:
    from torch import Tensor

N_PATCHES, PATCH, CORRELATION = 8, 4, 0.9
"""The signal of the decoder's bound: samples of a first-order process of variance 1, cut into patches."""
N_BATCHES = 200  # batches that reports are drawn into
VISIBLE = (1, 5)  # patches that are visible: 25 %, as in pretraining


# ---------------------------------------------------------------- Gaussians, from their covariance


def information(covariance: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """Mutual information of two sets of coordinates: ½ log(det Σ_l det Σ_r / det Σ_lr)."""
    sets = (left, right, np.concatenate([left, right]))
    of_left, of_right, of_both = (float(np.linalg.slogdet(covariance[np.ix_(p, p)])[1]) for p in sets)
    return 0.5 * (of_left + of_right - of_both)


def regression(covariance: np.ndarray, given: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrix [w, g] of the conditional mean of `wanted` given `given`, and the covariance [w, w] that is left."""
    cross = covariance[np.ix_(wanted, given)]
    matrix = np.linalg.solve(covariance[np.ix_(given, given)], cross.T).T
    return matrix, covariance[np.ix_(wanted, wanted)] - matrix @ cross.T


# ---------------------------------------------------------------- InfoNCE and its ceiling log B (Eq. 3)


def optimal_critic(x: np.ndarray, y: np.ndarray, correlation: float) -> tuple[Tensor, Tensor, float]:
    """Rows and a temperature whose cosine / temperature is log p(x, y) / p(x) p(y), up to a constant.

    So `objectives.info_nce` itself computes the bound of the optimal critic. x, y: [N, d], variance 1, coordinates
    paired with one correlation ρ > 0. For those the log ratio is c x·y − k (|x|² + |y|²) with c = ρ / (1 − ρ²),
    k = ½ ρ² / (1 − ρ²): a product of two vectors, which fillers of their own bring to one length.
    """
    import torch

    c, k = correlation / (1 - correlation**2), 0.5 * correlation**2 / (1 - correlation**2)
    ones, zeros = np.ones((len(x), 1)), np.zeros((len(x), 1))
    own = [-k * (side**2).sum(1, keepdims=True) for side in (x, y)]
    sides = [np.hstack([np.sqrt(c) * x, own[0], ones]), np.hstack([np.sqrt(c) * y, ones, own[1]])]
    length = max(float((side**2).sum(1).max()) for side in sides)
    fillers = [np.sqrt(np.maximum(length - (side**2).sum(1, keepdims=True), 0)) for side in sides]
    left, right = np.hstack([sides[0], fillers[0], zeros]), np.hstack([sides[1], zeros, fillers[1]])
    return torch.from_numpy(left), torch.from_numpy(right), 1 / length


def info_nce_bound(
    x: np.ndarray, y: np.ndarray, batch: int, most: int, *, temperature: float | None = None, correlation: float = 0.0
) -> float:
    """log B − InfoNCE by the loss that is trained: mean over the first whole batches of the pairs, at most `most`.

    The critic: the model's, the cosine of two rows over a temperature (Eq. 3); None: `optimal_critic`.
    """
    import torch

    from merit.objectives import info_nce

    losses = []
    for start in range(0, min(len(x) - batch + 1, most * batch), batch):
        pairs = x[start : start + batch], y[start : start + batch]
        if temperature is None:
            losses.append(float(info_nce(*optimal_critic(*pairs, correlation))))
        else:
            losses.append(float(info_nce(*map(torch.from_numpy, pairs), temperature)))
    return float(np.log(batch) - np.mean(losses))


def ceiling_of(reports: Sequence[str], batch: int) -> dict[str, float]:
    """The ceiling log B, what repeated reports leave of it on average (value), and its 95 % interval.

    A report that stands m times in a batch gives m equal columns, so that each of its rows loses log m at least, in
    both directions on average. Batches are drawn without replacement. The interval is that of the mean: where few
    batches hold a repeated report, the middle 95 % of them are all at the ceiling, and the mean below it.
    """
    codes = np.unique(np.asarray(reports, dtype=object).astype(str), return_inverse=True)[1]
    generator, lost = np.random.default_rng([0, batch]), []
    for _ in range(N_BATCHES):
        counts = np.unique(generator.choice(codes, batch, replace=False), return_counts=True)[1]
        lost.append(float((counts * np.log(counts)).sum() / batch))
    left = np.log(batch) - np.array(lost)
    value, ceiling = float(left.mean()), float(np.log(batch))
    reach = intervals.Z * float(left.std(ddof=1)) / N_BATCHES**0.5
    return {"ceiling": ceiling, "value": value, "low": value - reach, "high": max(value, min(value + reach, ceiling))}


def over_samples(values: np.ndarray) -> dict[str, float]:
    """Mean of independent samples' numbers [R], and the ends of their middle 95 %."""
    low, high = intervals.middle(values)
    return {"value": float(values.mean()), "low": low, "high": high}


# ---------------------------------------------------------------- the decoder's bound (Barber-Agakov, Eq. 4 to 6)


class Signal:
    """A Gaussian signal of which a quarter is visible, and Gaussian decoders of it; every part is a closed form.

    A decoder's mean is `factor` times the best linear prediction, with one variance v for every sample (Eq. 5).
    """

    def __init__(self) -> None:
        patch = np.repeat(np.arange(N_PATCHES), PATCH)
        place = np.arange(len(patch))
        self.covariance = CORRELATION ** np.abs(place[:, None] - place)
        self.visible, self.hidden = (np.flatnonzero(np.isin(patch, VISIBLE, invert=hidden)) for hidden in (False, True))
        self.information = information(self.covariance, self.visible, self.hidden)
        """I(x_v; x_h)."""
        own = self.covariance[np.ix_(self.hidden, self.hidden)]
        self.hidden_entropy = 0.5 * float(np.linalg.slogdet(2 * np.pi * np.e * own)[1])
        """Differential entropy h(x_h); it depends on the unit of every sample."""
        self.prediction, self.left = regression(self.covariance, self.visible, self.hidden)
        """Matrix of the best prediction [d, visible], and the covariance [d, d] of what it leaves."""

    def error(self, factor: float) -> float:
        """Expected squared error a sample when the prediction is `factor` times the best one (L_MSE, exact)."""
        seen = self.covariance[np.ix_(self.visible, self.visible)]
        lost = (1 - factor) ** 2 * self.prediction @ seen @ self.prediction.T
        return float(np.trace(self.left + lost) / len(self.hidden))

    def bound(self, error: float | np.ndarray, variance: float) -> float | np.ndarray:
        """h(x_h) + E log q for error L_MSE and variance v: h − d L / 2v − d/2 log 2πv."""
        d = len(self.hidden)
        return self.hidden_entropy - d * error / (2 * variance) - 0.5 * d * np.log(2 * np.pi * variance)

    def gap(self, factor: float, variance: float) -> float:
        """E KL(p(x_h | x_v) ‖ q): what the bound misses, from the divergence's own formula."""
        d = len(self.hidden)
        spread = d * self.error(factor) / variance - d
        return 0.5 * (spread + d * np.log(variance) - float(np.linalg.slogdet(self.left)[1]))

    def measured_error(self, factor: float, n: int, seed: int) -> float:
        """L_MSE by `objectives.masked_mse` on n drawn signals."""
        import torch

        from merit.objectives import masked_mse

        root = np.linalg.cholesky(self.covariance)
        x = np.random.default_rng(seed).normal(size=(n, len(root))) @ root.T
        predicted = x.copy()
        predicted[:, self.hidden] = factor * x[:, self.visible] @ self.prediction.T
        hidden = np.isin(np.arange(N_PATCHES), VISIBLE, invert=True)
        patches = [torch.from_numpy(side.reshape(n, N_PATCHES, PATCH)) for side in (predicted, x)]
        return float(masked_mse(*patches, torch.from_numpy(np.tile(hidden, (n, 1)))))


# ---------------------------------------------------------------- discrete variables


def discrete_information(joint: np.ndarray) -> float:
    """Mutual information of a table of probabilities [x, z] that sums to 1; empty cells add nothing."""
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / product[there])).sum())
