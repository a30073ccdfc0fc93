"""The bounds of the paper's Section 3 where both sides are known: closed forms, exact sums, and draws under them.

Legend: N pairs, B batch, d hidden samples; `left`, `right`, `given`, `wanted`, `visible`, `hidden`: positions of
coordinates, int arrays. Nats throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import intervals
from merit.evaluate.information import known_pairs

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5, 1.0)
"""Temperatures among which the best is chosen, on pairs of their own."""
CHOOSING_SEED = 10_000  # seed of the pairs that a temperature is chosen on; seeds of the estimates stay below
N_PATCHES, PATCH, CORRELATION = 8, 4, 0.9
"""The signal of the decoder's bound: samples of a first-order process of variance 1, cut into patches."""
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


def contrastive_bound(
    width: int, truths: Sequence[float], sizes: Sequence[int], temperature: float, *, seeds: int, most: int
) -> list[dict[str, Any]]:
    """One row per true information, critic and batch size: mean of the bound over seeds, its middle 95 %, the largest.

    width: dimensions a side. temperature: the model's. Critics: best (the log ratio of densities), model (the cosine of
    the raw coordinates over `temperature`), tuned (over the best of `TEMPERATURES`, chosen on pairs of its own). most:
    batches of a size within a seed.
    """
    rows = []
    for truth in truths:
        correlation = float(np.sqrt(1 - np.exp(-2 * truth / width)))
        x, y = known_pairs("gaussian", width, truth, max(sizes), CHOOSING_SEED)
        batch = min(128, max(sizes))
        most_tuned = max(sizes) // batch
        tuned = max(TEMPERATURES, key=lambda t: info_nce_bound(x, y, batch, most_tuned, temperature=t))
        samples = [known_pairs("gaussian", width, truth, max(sizes), seed) for seed in range(seeds)]
        for name, at in (("best", None), ("model", temperature), ("tuned", tuned)):
            for batch in sizes:
                how = {"temperature": at, "correlation": correlation}
                values = np.array([info_nce_bound(x, y, batch, most, **how) for x, y in samples])
                low, high = intervals.middle(values)
                row = {"truth": truth, "critic": name, "batch": batch, "value": float(values.mean())}
                row |= {"low": low, "high": high, "largest": float(values.max())}
                rows.append(row | {"ceiling": float(np.log(batch)), "temperature": at})
    return rows


def report_ceilings(reports: Sequence[str], sizes: Sequence[int], draws: int, seed: int) -> list[dict[str, Any]]:
    """One row per batch size: the ceiling log B, what repeated reports leave of it on average, and its 95 % interval.

    A report that stands m times in a batch gives m equal columns, so that each of its rows loses log m at least, in
    both directions on average. Batches are drawn without replacement; sizes beyond the reports are left out. The
    interval is that of the mean over `draws` batches: where few batches hold a repeated report, the middle 95 % of them
    are all at the ceiling, and the mean below it.
    """
    codes = np.unique(np.asarray(reports, dtype=object).astype(str), return_inverse=True)[1]
    rows = []
    for batch in (size for size in sizes if size <= len(codes)):
        generator, lost = np.random.default_rng([seed, batch]), []
        for _ in range(draws):
            counts = np.unique(generator.choice(codes, batch, replace=False), return_counts=True)[1]
            lost.append(float((counts * np.log(counts)).sum() / batch))
        left = np.log(batch) - np.array(lost)
        value, ceiling = float(left.mean()), float(np.log(batch))
        reach = intervals.Z * float(left.std(ddof=1)) / draws**0.5 if draws > 1 else 0.0
        high = max(value, min(value + reach, ceiling))
        rows.append({"batch": batch, "ceiling": ceiling, "value": value, "low": value - reach, "high": high})
    return rows


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


def decoder_bound(factors: Sequence[float], n: int, seeds: int) -> list[dict[str, Any]]:
    """Two rows per decoder, whose mean is `factor` times the best prediction: the bound from n drawn signals (mean over
    seeds and its middle 95 %), and error, `bound` and gap by formula, beside the true information.

    kind: at the variance of its best bound (v = L_MSE), or at the one that a weight of one stands for (v = d / 2).
    """
    signal = Signal()
    d, rows = len(signal.hidden), []
    about = {"information": signal.information, "entropy": signal.hidden_entropy, "d": d, "n": n, "seeds": seeds}
    for factor in factors:
        error = signal.error(factor)
        drawn = np.array([signal.measured_error(factor, n, seed) for seed in range(seeds)])
        for kind, variance in (("best", error), ("weight one", d / 2)):
            values = signal.bound(drawn, variance)
            low, high = intervals.middle(values)
            row = {"factor": factor, "kind": kind, "variance": variance, "error": error}
            row |= {"value": float(values.mean()), "low": low, "high": high}
            row |= {"bound": float(signal.bound(error, variance)), "gap": float(signal.gap(factor, variance))}
            rows.append(row | about)
    return rows


# ---------------------------------------------------------------- data processing: X → Y → Z has I(X; Z) ≤ I(X; Y)


def discrete_information(joint: np.ndarray) -> float:
    """Mutual information of a table of probabilities [x, z] that sums to 1; empty cells add nothing."""
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / product[there])).sum())


def discrete_chains(n_chains: int, n_samples: int, seed: int) -> list[dict[str, float]]:
    """One row per random chain of three variables of 6 values: both sides exactly, and from counts of n_samples draws.

    Rows of the first channel are Dirichlet draws, from nearly deterministic to nearly uniform; the second mixes such a
    channel with one that only renames, in any share.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(n_chains):
        p = generator.dirichlet(np.ones(6))
        first, second = (generator.dirichlet(np.full(6, generator.uniform(0.05, 1.0)), size=6) for _ in range(2))
        share = generator.uniform()
        second = share * np.eye(6)[generator.permutation(6)] + (1 - share) * second
        joint = p[:, None] * first
        cells = generator.multinomial(n_samples, (joint[:, :, None] * second).ravel() / joint.sum()).reshape(6, 6, 6)
        tables = {"first": joint, "both": joint @ second}
        tables |= {"first_counted": cells.sum(2) / n_samples, "both_counted": cells.sum(1) / n_samples}
        rows.append({name: discrete_information(table) for name, table in tables.items()})
    return rows


def gaussian_chains(n_chains: int, seed: int) -> list[dict[str, float]]:
    """One row per random chain y = A x + noise, z = B y + noise with x of 4, y of 4 and z of 3 dimensions."""
    generator = np.random.default_rng(seed)
    x, y, z = np.arange(4), np.arange(4, 8), np.arange(8, 11)
    rows = []
    for _ in range(n_chains):
        a, b = generator.normal(size=(4, 4)), generator.normal(size=(3, 4))
        noise = np.exp(generator.uniform(np.log(0.1), np.log(3.0), size=2))
        mix = np.zeros((11, 11))  # x, y, z from the sources x, noise of y, noise of z
        mix[:4, :4], mix[4:8, :4], mix[4:8, 4:8] = np.eye(4), a, noise[0] * np.eye(4)
        mix[8:] = b @ mix[4:8]
        mix[8:, 8:] += noise[1] * np.eye(3)
        covariance = mix @ mix.T
        rows.append({"first": information(covariance, x, y), "both": information(covariance, x, z)})
    return rows


def resolutions(noises: Sequence[float]) -> list[dict[str, Any]]:
    """Information of embeddings of the signal with noise of sd σ added, one row per noise and embedding (`metric`).

    copy: I(x; x₁ + σε), one sample copied, which grows without end as σ falls. one: I(x_h; w·x_v + σε), of the
    direction of the visible part with the highest correlation with the hidden one; whole: the same for the whole
    visible part; ceiling: I(x_v; x_h), which processing cannot pass.
    """
    signal = Signal()
    visible, hidden = signal.visible, signal.hidden
    seen = signal.covariance[np.ix_(visible, visible)]
    matrix, _ = regression(signal.covariance, hidden, visible)
    told = matrix @ signal.covariance[np.ix_(hidden, visible)]
    root = np.linalg.inv(np.linalg.cholesky(seen))
    best = np.linalg.eigh(root @ told @ root.T)[1][:, -1] @ root
    d, rows = len(hidden), []
    for noise in noises:
        values = {"copy": 0.5 * float(np.log1p(1 / noise**2))}
        for name, weights in (("one", best[None]), ("whole", np.eye(len(visible)))):
            k, cross = len(weights), weights @ signal.covariance[np.ix_(visible, hidden)]
            own = weights @ seen @ weights.T + noise**2 * np.eye(k)
            covariance = np.block([[own, cross], [cross.T, signal.covariance[np.ix_(hidden, hidden)]]])
            values[name] = information(covariance, np.arange(k), np.arange(k, k + d))
        for name, value in values.items():
            rows.append({"noise": noise, "metric": name, "value": value, "ceiling": signal.information})
    return rows
