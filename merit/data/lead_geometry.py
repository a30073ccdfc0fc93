"""How much of a lead follows from other leads at the same instant: what a linear map can rebuild of hidden leads.

Legend: N recordings, L = 12 leads, T samples. Every recording is z-scored over all its leads together, as the encoder
sees it, so all errors are shares of the variance: predicting the mean gives 1.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

RIDGE = 1e-6
"""Relative to the total variance: I, II and III are dependent, so some triples have a singular covariance."""


def lead_covariances(signal: np.ndarray) -> np.ndarray:
    """Covariance between leads of each recording [N, L, L], from signals [N, L, T] of any unit, z-scored as above.

    Each lead's own mean is kept, as the z-score keeps it; flat recordings count as zero.
    """
    covariances = np.zeros((len(signal), signal.shape[1], signal.shape[1]))
    for k, one in enumerate(signal):
        one = one.astype(np.float64)
        one = (one - one.mean()) / (one.std() or 1.0)
        covariances[k] = one @ one.T / one.shape[1]
    return covariances


def hardness(signal: np.ndarray) -> dict[str, float]:
    """The three shares for signals [N, L, T] of any unit.

    own_three: variance that a recording's own three principal components explain, mean over recordings.
    common_three: the same for the three components of all recordings together.
    three_lead_bound: see there, mean over all 220 triples of leads.
    """
    covariances = lead_covariances(signal)
    total = np.trace(covariances, axis1=1, axis2=2)
    kept = total > 0
    covariances, total = covariances[kept], total[kept]
    own = np.linalg.eigvalsh(covariances)[:, -3:].sum(1) / total
    pooled = covariances.mean(0)
    axes = np.linalg.eigh(pooled)[1][:, -3:]
    common = np.einsum("lk,nlm,mk->n", axes, covariances, axes) / total
    triples = combinations(range(pooled.shape[0]), 3)
    return {
        "own_three": float(own.mean()),
        "common_three": float(common.mean()),
        "three_lead_bound": float(np.mean([three_lead_bound(pooled, triple) for triple in triples])),
        "n_recordings": len(total),
    }


def three_lead_bound(covariance: np.ndarray, visible: tuple[int, ...]) -> float:
    """Error of the best linear map from the visible leads to the others at the same instant, share of their variance.

    covariance: [L, L], pooled over recordings (`lead_covariances(...).mean(0)`): one map for all of them.
    """
    hidden = [k for k in range(len(covariance)) if k not in visible]
    left = _residual(covariance, visible)[hidden]
    return float(left.sum() / np.trace(covariance[np.ix_(hidden, hidden)]))


def masked_bound(covariance: np.ndarray, hidden_share: float) -> float:
    """The same when each lead is hidden with probability `hidden_share`, in expectation over all patterns.

    The error that a linear map from whatever is visible at an instant leaves on the hidden leads, as a share of the
    variance of all leads: what masked reconstruction must beat to use more than the same instant of other leads.
    """
    n = len(covariance)
    error = 0.0
    for pattern in range(2**n):
        visible = tuple(k for k in range(n) if pattern >> k & 1)
        weight = (1 - hidden_share) ** len(visible) * hidden_share ** (n - len(visible))
        left = _residual(covariance, visible)
        error += weight * left[[k for k in range(n) if k not in visible]].sum()
    return float(error / (hidden_share * np.trace(covariance)))


def _residual(covariance: np.ndarray, visible: tuple[int, ...]) -> np.ndarray:
    """Variance of each lead [L] that the visible ones do not explain."""
    seen = list(visible)
    if not seen:
        return np.diag(covariance).copy()
    ridge = RIDGE * np.trace(covariance) * np.eye(len(seen))
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)] + ridge, covariance[seen])
    return np.diag(covariance) - (covariance[seen] * weights).sum(0)
