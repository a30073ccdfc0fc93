"""The Barber-Agakov bound (Eq. 4 and 6) of Gaussian decoders on a Gaussian signal, where every part is a closed form.

The signal: successive samples of a first-order process of variance 1, cut into patches, of which two in eight are
visible. The decoder: Gaussian, its mean a multiple of the best linear prediction, one variance v for every sample
(Eq. 5). Legend: d hidden samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merit import intervals
from merit.evaluate.bounds import gaussian

N_PATCHES, PATCH, CORRELATION = 8, 4, 0.9
VISIBLE = (1, 5)
"""Patches that are visible: 25 %, as in pretraining."""


@dataclass(frozen=True)
class Signal:
    """Covariance of the samples, and which are visible and hidden."""

    covariance: np.ndarray
    visible: np.ndarray
    hidden: np.ndarray

    @classmethod
    def standard(cls) -> Signal:
        """The one of this page."""
        patch = np.repeat(np.arange(N_PATCHES), PATCH)
        seen = np.isin(patch, VISIBLE)
        covariance = gaussian.autoregressive(len(patch), CORRELATION)
        return cls(covariance, np.flatnonzero(seen), np.flatnonzero(~seen))

    @property
    def information(self) -> float:
        """I(x_v; x_h), nats."""
        return gaussian.information(self.covariance, self.visible, self.hidden)

    @property
    def hidden_entropy(self) -> float:
        """h(x_h), nats."""
        return gaussian.entropy(self.covariance[np.ix_(self.hidden, self.hidden)])

    def prediction(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrix of the best prediction [d, visible], and the covariance [d, d] of what it leaves."""
        return gaussian.regression(self.covariance, self.visible, self.hidden)

    def error(self, factor: float) -> float:
        """Expected squared error a sample when the prediction is `factor` times the best one (L_MSE, exact)."""
        matrix, left = self.prediction()
        seen = self.covariance[np.ix_(self.visible, self.visible)]
        return float(np.trace(left + (1 - factor) ** 2 * matrix @ seen @ matrix.T) / len(left))

    def gap(self, factor: float, variance: float) -> float:
        """E KL(p(x_h | x_v) ‖ q), nats: what the bound misses, from the divergence's own formula."""
        _, left = self.prediction()
        d = len(left)
        spread = d * self.error(factor) / variance - d
        return 0.5 * (spread + d * np.log(variance) - float(np.linalg.slogdet(left)[1]))

    def draw(self, n: int, seed: int) -> np.ndarray:
        """float64 [n, samples]."""
        root = np.linalg.cholesky(self.covariance)
        return np.random.default_rng(seed).normal(size=(n, len(root))) @ root.T


def bound(entropy: float, d: int, error: float, variance: float | np.ndarray) -> float | np.ndarray:
    """h(x_h) + E log q, nats, for error L_MSE and variance v: h − d L / 2v − d/2 log 2πv."""
    return entropy - d * error / (2 * variance) - 0.5 * d * np.log(2 * np.pi * variance)


def measured_error(signal: Signal, factor: float, n: int, seed: int) -> float:
    """L_MSE by `objectives.masked_mse` on n drawn signals, with the prediction `factor` times the best one."""
    import torch

    from merit.objectives import masked_mse

    x = signal.draw(n, seed)
    predicted = x.copy()
    predicted[:, signal.hidden] = factor * x[:, signal.visible] @ signal.prediction()[0].T
    hidden = np.ones(N_PATCHES, dtype=bool)
    hidden[list(VISIBLE)] = False
    patches = [torch.from_numpy(side.reshape(n, N_PATCHES, PATCH)) for side in (predicted, x)]
    return float(masked_mse(*patches, torch.from_numpy(np.tile(hidden, (n, 1)))))


def against_truth(factors: Sequence[float], n: int, seeds: int) -> dict[str, Any]:
    """Information, entropy and d of the standard signal, and a row a decoder: its errors, bounds and gaps, nats.

    factors: of the best prediction. Each decoder is shown at the variance of its best bound (v = L_MSE) and at the one
    that a weight of 1 stands for (v = d / 2); `measured` has the bound from drawn signals, mean and middle 95 % of
    seeds.
    """
    signal = Signal.standard()
    entropy, d = signal.hidden_entropy, len(signal.hidden)
    rows = []
    for factor in factors:
        error = signal.error(factor)
        drawn = np.array([measured_error(signal, factor, n, seed) for seed in range(seeds)])
        for kind, variance in (("best", error), ("weight one", d / 2)):
            values = bound(entropy, d, drawn, variance)
            low, high = intervals.middle(values)
            rows.append({
                "factor": factor, "kind": kind, "variance": variance, "error": error,
                "bound": float(bound(entropy, d, error, variance)), "gap": float(signal.gap(factor, variance)),
                "measured": {"value": float(values.mean()), "low": low, "high": high},
            })  # fmt: skip
    return {"information": signal.information, "entropy": entropy, "d": d, "n": n, "seeds": seeds, "rows": rows}
