"""From a recording as read to a row of a store: leads by name, voltages by unit, gaps, rate, length, scale.

Pure functions of arrays; imports no torch. At the end: how much of a lead follows from other leads at the same instant.
Legend: N recordings, L leads, T samples. Leads are rows, in the order of `merit.data.recording.LEADS`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly

from merit.config import SignalConfig
from merit.data.recording import LEADS, Recording, RejectedRecording, shown

# -- leads by name, voltages by unit ----------------------------------------------------------------------------------

MV_PER_UNIT = {"mv": 1.0, "uv": 1e-3, "μv": 1e-3, "v": 1e3}
"""Units of voltage, case-folded (which turns the micro sign into the Greek letter); WFDB's own default is mV."""
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
    canonical = {name.casefold(): name for name in LEADS}
    found = [canonical.get(name.strip().casefold()) for name in names]
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
    """[12, T] in the order of LEADS from the rows [L, T] called `names`; limb leads that are missing are derived."""
    rows = place(names)
    if rows == list(range(len(LEADS))):
        return signal[: len(LEADS)]
    lead_i, lead_ii = signal[rows[0]], signal[rows[1]]
    return np.stack([derive(n, lead_i, lead_ii) if row is None else signal[row] for n, row in zip(LEADS, rows)])


def derive(name: str, lead_i: np.ndarray, lead_ii: np.ndarray) -> np.ndarray:
    """One of III, aVR, aVL, aVF from I and II, in their unit and type."""
    weight_i, weight_ii = DERIVED[name]
    return (weight_i * lead_i + weight_ii * lead_ii).astype(lead_i.dtype)


# -- gaps, rate, length, scale ----------------------------------------------------------------------------------------

MAX_GAP_FRACTION = 0.2
"""A lead with a larger share of invalid samples is rejected: a straight line over more than 2 of 10 s is no ECG."""
MAX_MICROVOLTS = 32767
"""Largest magnitude that a store holds; -32768 stays free, as WFDB uses it for invalid samples."""
MARGIN_S = 1.0
"""Read beyond the stored length before resampling, so that the cut end is filtered with what really follows it."""
MAX_DENOMINATOR = 10_000
"""Bound on the terms of the resampling ratio: whole rates are met exactly, others to about one part in 10^8."""


def repair_gaps(signal: np.ndarray, max_fraction: float = MAX_GAP_FRACTION) -> tuple[np.ndarray, int]:
    """[12, T] without NaN and Inf, and how many samples were replaced.

    A gap is bridged by a straight line between the neighbouring finite samples of the same lead; at the ends the
    nearest one holds. A lead without any finite sample is derived from I and II where it can be. Rejected: other such
    leads, and a lead with more than `max_fraction` of its samples invalid.
    """
    finite = np.isfinite(signal)
    if finite.all():
        return signal, 0
    invalid = (~finite).mean(axis=1)
    if (invalid == 1.0).all():
        raise RejectedRecording("not finite: no sample of any lead is a number")
    derivable = [share == 1.0 and lead in DERIVED for share, lead in zip(invalid, LEADS)]
    worst = [row for row in range(len(signal)) if invalid[row] > max_fraction and not derivable[row]]
    if worst:
        named = ", ".join(f"{LEADS[row]} {invalid[row]:.0%}" for row in worst)
        raise RejectedRecording(f"not finite: {named} of the samples, at most {max_fraction:.0%} can be repaired")
    repaired = signal.copy()
    time = np.arange(signal.shape[1])
    for row in np.flatnonzero((invalid > 0) & (invalid < 1)):
        good = finite[row]
        repaired[row, ~good] = np.interp(time[~good], time[good], signal[row, good])
    for row in np.flatnonzero(invalid == 1.0):
        repaired[row] = derive(LEADS[row], repaired[0], repaired[1])
    return repaired, int((~finite).sum())


def resample(signal: np.ndarray, fs_hz: float, to_hz: float) -> np.ndarray:
    """[L, round(T * to / from)] by polyphase filtering with the ratio of the rates, integers or not.

    The line from the first to the last sample is taken out before and put back after, so that an offset or a drift
    makes no transient at the ends. Equal rates return the input itself; an absurd rate is rejected.
    """
    if fs_hz == to_hz:
        return signal
    slow, fast = sorted((Fraction(fs_hz), Fraction(to_hz)))
    ratio = (slow / fast).limit_denominator(MAX_DENOMINATOR)
    if ratio == 0:
        raise RejectedRecording(f"invalid rate: {fs_hz:g} Hz is out of all proportion to {to_hz:g} Hz")
    up, down = ratio.as_integer_ratio() if to_hz < fs_hz else ratio.as_integer_ratio()[::-1]
    n_samples = round(signal.shape[1] * to_hz / fs_hz)
    return resample_poly(signal, up, down, axis=1, padtype="line")[:, :n_samples]


def fix_length(signal: np.ndarray, n_samples: int) -> np.ndarray:
    """[L, n_samples]: cut at the end, or padded with zeros at the end."""
    missing = n_samples - signal.shape[1]
    return np.pad(signal, ((0, 0), (0, missing))) if missing > 0 else signal[:, :n_samples]


def to_microvolts(signal_mv: np.ndarray) -> tuple[np.ndarray, int]:
    """int16 of the shape of `signal_mv`, rounded to 1 µV, and how many samples were out of range.

    Those are clipped to the largest magnitude, never wrapped. The input is finite (see `repair_gaps`).
    """
    microvolts = np.rint(signal_mv.astype(np.float64) * 1000.0)
    n_saturated = int((np.abs(microvolts) > MAX_MICROVOLTS).sum())
    return np.clip(microvolts, -MAX_MICROVOLTS, MAX_MICROVOLTS).astype(np.int16), n_saturated


class Outcome(NamedTuple):
    """What became of one recording. JSON-like, for the journal."""

    reason: str = ""
    """Why it is not stored; "" if it is, and the rest holds."""
    digest: str = ""
    """Of the stored signal: equal for identical ones."""
    source_fs_hz: float = 0.0
    source_duration_s: float = 0.0
    n_repaired: int = 0
    """Samples of the source that were invalid and interpolated."""
    n_saturated: int = 0
    """Stored samples that were clipped."""
    age: float | None = None
    sex: str | None = None
    checksums_differ: bool = False
    """The samples do not add up to what the file's header states: damaged, or of another record."""


def process(recording: Recording, signal: SignalConfig, max_gap_fraction: float) -> tuple[np.ndarray, Outcome]:
    """int16 [12, n_samples] in µV, and what was done to get it. Raises RejectedRecording."""
    signal_mv, fs_hz = recording.signal_mv, recording.fs_hz
    if signal_mv.shape[1] == 0:
        raise RejectedRecording("no samples")
    needed = math.ceil((signal.duration_s + MARGIN_S) * fs_hz)
    repaired, n_repaired = repair_gaps(signal_mv[:, :needed], max_gap_fraction)
    stored = resample(repaired, fs_hz, signal.fs_hz)[:, : signal.n_samples]
    if not np.isfinite(stored).all():  # finite samples whose filtered sum is not
        raise RejectedRecording("not finite: after repair and resampling")
    signal_uv, n_saturated = to_microvolts(stored)
    if signal_uv.shape[1] == 0:
        raise RejectedRecording(f"no samples: {signal_mv.shape[1]} at {fs_hz:g} Hz")
    if (signal_uv == signal_uv[:, :1]).all():
        raise RejectedRecording("flat in every lead")
    signal_uv = np.ascontiguousarray(fix_length(signal_uv, signal.n_samples))
    return signal_uv, Outcome(
        digest=signal_digest(signal_uv),
        source_fs_hz=fs_hz,
        source_duration_s=round(signal_mv.shape[1] / fs_hz, 6),
        n_repaired=n_repaired,
        n_saturated=n_saturated,
        age=recording.age,
        sex=recording.sex,
        checksums_differ=recording.checksums_agree is False,
    )


def signal_digest(signal_uv: np.ndarray | bytes) -> str:
    """Of a signal as it is stored, 32 hexadecimal digits."""
    return hashlib.blake2b(signal_uv, digest_size=16).hexdigest()


# -- what follows from other leads ------------------------------------------------------------------------------------
# Every recording is z-scored over all its leads together, as the encoder sees it, so all errors of linear maps between
# leads are shares of the variance: predicting the mean gives 1.

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
    covariances, total = covariances[total > 0], total[total > 0]
    own = np.linalg.eigvalsh(covariances)[:, -3:].sum(1) / total
    pooled = covariances.mean(0)
    axes = np.linalg.eigh(pooled)[1][:, -3:]
    common = np.einsum("lk,nlm,mk->n", axes, covariances, axes) / total
    bounds = []
    for visible in combinations(range(len(pooled)), 3):
        hidden = [k for k in range(len(pooled)) if k not in visible]
        left = residual(pooled, visible)[hidden]
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
    n, error = len(covariance), 0.0
    for pattern in range(2**n):
        visible = tuple(k for k in range(n) if pattern >> k & 1)
        weight = (1 - hidden_share) ** len(visible) * hidden_share ** (n - len(visible))
        error += weight * residual(covariance, visible)[[k for k in range(n) if k not in visible]].sum()
    return float(error / (hidden_share * np.trace(covariance)))


def residual(covariance: np.ndarray, visible: tuple[int, ...]) -> np.ndarray:
    """Variance of each lead [L] that the visible ones do not explain."""
    if not visible:
        return np.diag(covariance).copy()
    seen = list(visible)
    ridge = RIDGE * np.trace(covariance) * np.eye(len(seen))
    weights = np.linalg.solve(covariance[np.ix_(seen, seen)] + ridge, covariance[seen])
    return np.diag(covariance) - (covariance[seen] * weights).sum(0)
