"""Leads by name and voltages by unit, and how much of a lead follows from other leads at the same instant.

Whatever a file's order, case and scale, twelve leads in millivolts come out. For what a linear map can rebuild of
hidden leads every recording is z-scored over all its leads together, as the encoder sees it, so all errors are shares
of the variance: predicting the mean gives 1. Legend: N recordings, L leads, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from merit.data.recording import LEADS, RejectedRecording, shown

MV_PER_UNIT = {"mv": 1.0, "uv": 1e-3, "μv": 1e-3, "v": 1e3}
"""Units of voltage, case-folded (which turns the micro sign into the Greek letter); WFDB's own default is mV."""

CANONICAL = {name.casefold(): name for name in LEADS}

DERIVED = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
"""Weights of (I, II) that give the other limb leads (Einthoven's law, Goldberger's definitions)."""


def to_millivolts(signal: np.ndarray, units: Sequence[str]) -> np.ndarray:
    """float32 [L, T] in mV from a signal [L, T] whose rows have `units`. A unit that is no voltage is rejected."""
    foreign = sorted({unit for unit in units if unit.strip().casefold() not in MV_PER_UNIT})
    if foreign:
        raise RejectedRecording(f"foreign unit: {', '.join(map(shown, foreign))}, expected mV, uV or V")
    scale = np.array([MV_PER_UNIT[unit.strip().casefold()] for unit in units])
    if (scale != 1.0).any():
        signal = signal * scale[:, None]
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes Inf, which is repaired or rejected as a gap is
        return signal.astype(np.float32)


def place(names: Sequence[str]) -> list[int | None]:
    """For each of LEADS the row of that name, in any order and case; None for a limb lead that I and II give.

    Other leads, as Frank's, have no place. RejectedRecording where a lead is missing or occurs twice.
    """
    found = [CANONICAL.get(name.strip().casefold()) for name in names]
    repeated = sorted({name for name in found if name is not None and found.count(name) > 1})
    if repeated:
        raise RejectedRecording(f"repeated lead: {', '.join(repeated)}")
    missing = [name for name in LEADS if name not in found and name not in DERIVED]
    unknown = [shown(name) for name, known in zip(names, found) if known is None]
    if missing and not any(name.strip() for name in names):
        raise RejectedRecording(f"missing lead: none of {len(names)} signals has a name, expected {' '.join(LEADS)}")
    if missing and unknown:
        raise RejectedRecording(f"unknown lead: {', '.join(unknown[:12])}, expected {' '.join(LEADS)}")
    if missing:
        raise RejectedRecording(f"missing lead: {', '.join(missing)}")
    return [found.index(name) if name in found else None for name in LEADS]


def arrange(signal: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """[12, T] in the order of `LEADS` from the rows [L, T] called `names`; see `place`.

    Of the limb leads III, aVR, aVL and aVF those that are missing are derived from I and II.
    """
    rows = place(names)
    if rows == list(range(len(LEADS))):
        return signal[: len(LEADS)]
    lead_i, lead_ii = signal[rows[0]], signal[rows[1]]
    return np.stack([derive(n, lead_i, lead_ii) if row is None else signal[row] for n, row in zip(LEADS, rows)])


def derive(name: str, lead_i: np.ndarray, lead_ii: np.ndarray) -> np.ndarray:
    """One of III, aVR, aVL, aVF from I and II, in their unit and type."""
    weight_i, weight_ii = DERIVED[name]
    return (weight_i * lead_i + weight_ii * lead_ii).astype(lead_i.dtype)


# What follows from other leads

RIDGE = 1e-6
"""Relative to the total variance: I, II and III are dependent, so some triples have a singular covariance."""


def lead_covariances(signal: np.ndarray) -> np.ndarray:
    """Covariance between leads of each recording [N, L, L], from signals [N, L, T] of any unit, z-scored as above.

    Each lead's own mean is kept, as the z-score keeps it; flat recordings count as zero.
    """
    covariances = np.zeros((len(signal), signal.shape[1], signal.shape[1]))
    for k, recording in enumerate(signal):
        scaled = recording.astype(np.float64)
        scaled = (scaled - scaled.mean()) / (scaled.std() or 1.0)
        covariances[k] = scaled @ scaled.T / scaled.shape[1]
    return covariances


def hardness(signal: np.ndarray) -> dict[str, float]:
    """The three shares for signals [N, L, T] of any unit.

    own_three: variance that a recording's own three principal components explain, mean over recordings.
    common_three: the same for the three components of all recordings together.
    three_lead_bound: error of the best linear map (one for all recordings) from three leads to the others at the same
    instant, share of their variance, mean over all 220 triples.
    """
    covariances = lead_covariances(signal)
    total = np.trace(covariances, axis1=1, axis2=2)
    kept = total > 0
    covariances, total = covariances[kept], total[kept]
    own = np.linalg.eigvalsh(covariances)[:, -3:].sum(1) / total
    pooled = covariances.mean(0)
    axes = np.linalg.eigh(pooled)[1][:, -3:]
    common = np.einsum("lk,nlm,mk->n", axes, covariances, axes) / total
    bounds = []
    for visible in combinations(range(len(pooled)), 3):
        hidden = [k for k in range(len(pooled)) if k not in visible]
        left = _residual(pooled, visible)[hidden]
        bounds.append(float(left.sum() / np.trace(pooled[np.ix_(hidden, hidden)])))
    return {
        "own_three": float(own.mean()),
        "common_three": float(common.mean()),
        "three_lead_bound": float(np.mean(bounds)),
        "n_recordings": len(total),
    }


def masked_bound(covariance: np.ndarray, hidden_share: float) -> float:
    """The error that a linear map from whatever is visible at an instant leaves on the hidden leads, as a share of the
    variance of all leads: what masked reconstruction must beat to use more than the same instant of other leads.

    Each lead is hidden with probability `hidden_share`; the expectation over all patterns. covariance: [L, L], pooled
    over recordings (`lead_covariances(...).mean(0)`).
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
