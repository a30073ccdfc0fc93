"""The data-processing inequality where both sides are known: discrete chains by exact sums, Gaussian ones by formula.

A chain X → Y → Z: Z is made from Y alone. Then I(X; Z) ≤ I(X; Y). Nats throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merit.evaluate.bounds import gaussian
from merit.evaluate.bounds.decoder import Signal


def discrete_information(joint: np.ndarray) -> float:
    """Mutual information of a table of probabilities [x, z] that sums to 1; empty cells add nothing."""
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / product[there])).sum())


def discrete_chains(n_chains: int, n_samples: int, seed: int) -> list[dict[str, float]]:
    """A row a random chain of three variables of 6 values: both sides exactly, and from the counts of n_samples draws.

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
        rows.append({
            "first": discrete_information(joint), "both": discrete_information(joint @ second),
            "first_counted": discrete_information(cells.sum(2) / n_samples),
            "both_counted": discrete_information(cells.sum(1) / n_samples),
        })  # fmt: skip
    return rows


def gaussian_chains(n_chains: int, seed: int) -> list[dict[str, float]]:
    """A row a random chain y = A x + noise, z = B y + noise with x of 4, y of 4 and z of 3 dimensions; by formula."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(n_chains):
        a, b = generator.normal(size=(4, 4)), generator.normal(size=(3, 4))
        noise = np.exp(generator.uniform(np.log(0.1), np.log(3.0), size=2))
        mix = np.zeros((11, 11))  # x, y, z from the sources x, noise of y, noise of z
        mix[:4, :4], mix[4:8, :4], mix[4:8, 4:8] = np.eye(4), a, noise[0] * np.eye(4)
        mix[8:] = b @ mix[4:8]
        mix[8:, 8:] += noise[1] * np.eye(3)
        covariance = mix @ mix.T
        x, y, z = np.arange(4), np.arange(4, 8), np.arange(8, 11)
        rows.append({
            "first": gaussian.information(covariance, x, y), "both": gaussian.information(covariance, x, z),
        })  # fmt: skip
    return rows


def resolutions(noises: Sequence[float]) -> dict[str, Any]:
    """Information of embeddings of the standard signal with noise of sd σ added, a value a noise.

    copy: I(x; x₁ + σε), one sample copied, which grows without end as σ falls. encoder: I(x_h; w·x_v + σε), of the
    direction of the visible part that tells most of the hidden one; whole: the same for the whole visible part;
    ceiling: I(x_v; x_h), which processing cannot pass.
    """
    signal = Signal.standard()
    seen, hidden = signal.visible, signal.hidden
    best = _best_direction(signal)
    copy, one, whole = [], [], []
    for noise in noises:
        copy.append(0.5 * float(np.log1p(1 / noise**2)))
        one.append(_noisy(signal, best[None], noise))
        whole.append(_noisy(signal, np.eye(len(seen)), noise))
    ceiling = gaussian.information(signal.covariance, seen, hidden)
    return {"noises": list(noises), "copy": copy, "one": one, "whole": whole, "ceiling": ceiling}


def _best_direction(signal: Signal) -> np.ndarray:
    """Weights [visible] of the sum of visible samples, of variance 1, with the highest correlation with hidden ones."""
    seen = signal.covariance[np.ix_(signal.visible, signal.visible)]
    matrix, _ = gaussian.regression(signal.covariance, signal.hidden, signal.visible)
    told = matrix @ signal.covariance[np.ix_(signal.hidden, signal.visible)]
    root = np.linalg.inv(np.linalg.cholesky(seen))
    return np.linalg.eigh(root @ told @ root.T)[1][:, -1] @ root


def _noisy(signal: Signal, weights: np.ndarray, noise: float) -> float:
    """I(x_h; W x_v + σε) for weights [k, visible]."""
    k, d = len(weights), len(signal.hidden)
    cross = weights @ signal.covariance[np.ix_(signal.visible, signal.hidden)]
    seen = weights @ signal.covariance[np.ix_(signal.visible, signal.visible)] @ weights.T + noise**2 * np.eye(k)
    covariance = np.block([[seen, cross], [cross.T, signal.covariance[np.ix_(signal.hidden, signal.hidden)]]])
    return gaussian.information(covariance, np.arange(k), np.arange(k, k + d))
