"""From a recording as read to a row of a store, in pure functions: gaps, rate, length, scale. Imports no torch.

Legend: L leads, T samples. Leads are rows, in the order of `merit.data.recording.LEADS`.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly

from merit.config import SignalConfig
from merit.data.leads import DERIVED, derive
from merit.data.recording import LEADS, Recording, RejectedRecording

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
    for row in np.flatnonzero(invalid):
        good = finite[row]
        if good.any():
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
    resampled = resample_poly(signal, up, down, axis=1, padtype="line")
    return resampled[:, :n_samples]


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
    if n_saturated:
        microvolts = np.clip(microvolts, -MAX_MICROVOLTS, MAX_MICROVOLTS)
    return microvolts.astype(np.int16), n_saturated


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
