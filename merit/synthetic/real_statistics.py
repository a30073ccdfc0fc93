"""Statistics by which synthetic recordings are compared with real ones: the same functions measure both.

Intervals come from manual delineations (events of P, QRS and T with begin, peak and end), amplitudes from the median
beat of a recording. Legend: L = 12 leads, T samples, B beats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

from merit.data.recording import LEADS

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PEAKS = {"p": "p", "N": "qrs", "t": "t"}
"""Symbols of LUDB's annotations at the peak of a wave; "(" and ")" stand before and after it."""


def quantiles(values: Iterable[float]) -> list[float]:
    """QUANTILES of the finite values, rounded to three decimals; empty where there is none."""
    finite = np.array([v for v in values if np.isfinite(v)])
    return [round(float(q), 3) for q in np.quantile(finite, QUANTILES)] if len(finite) else []


def delineated_waves(samples: Sequence[int], symbols: Sequence[str], fs_hz: float) -> list[tuple[str, float, float]]:
    """(wave, begin, end) in ms of an annotated lead, in time order, of the waves whose begin and end are marked."""
    waves = []
    for k, symbol in enumerate(symbols):
        if symbol in PEAKS and 0 < k < len(symbols) - 1 and symbols[k - 1] == "(" and symbols[k + 1] == ")":
            waves.append((PEAKS[symbol], 1000 * samples[k - 1] / fs_hz, 1000 * samples[k + 1] / fs_hz))
    return sorted(waves, key=lambda one: one[1])


def intervals(leads: Mapping[str, list[tuple[str, float, float]]]) -> dict[str, float]:
    """Heart rate, PR, QRS, QT and P durations of a recording from its delineated leads: medians over leads and beats.

    NaN for what no lead shows (PR and P in atrial fibrillation).
    """
    found: dict[str, list[float]] = {"pr_ms": [], "qrs_ms": [], "qt_ms": [], "p_ms": [], "rr_ms": []}
    for waves in leads.values():
        starts = [begin for wave, begin, _ in waves if wave == "qrs"]
        found["rr_ms"] += list(np.diff(starts))
        for k, (wave, begin, end) in enumerate(waves):
            if wave == "p":
                found["p_ms"].append(end - begin)
            elif wave == "qrs":
                found["qrs_ms"].append(end - begin)
                if k and waves[k - 1][0] == "p":
                    found["pr_ms"].append(begin - waves[k - 1][1])
                if k + 1 < len(waves) and waves[k + 1][0] == "t":
                    found["qt_ms"].append(waves[k + 1][2] - begin)
    median = {name: float(np.median(v)) if v else np.nan for name, v in found.items()}
    return {"heart_rate_bpm": 60_000 / median.pop("rr_ms"), **median}


def find_qrs(signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
    """Samples of the QRS complexes of a recording [L, T]: maxima of the smoothed slope over all leads."""
    band = butter(2, (8, min(35, 0.45 * fs_hz)), "band", fs=fs_hz, output="sos")
    slope = np.abs(np.gradient(sosfiltfilt(band, signal_mv, axis=1), axis=1)).sum(0)
    width = max(round(0.10 * fs_hz), 3)
    smooth = np.convolve(slope, np.hanning(width) / np.hanning(width).sum(), "same")
    height = 0.35 * np.quantile(smooth, 0.985)
    return find_peaks(smooth, height=height, distance=max(round(0.27 * fs_hz), 1))[0]


def beat_amplitudes(signal_mv: np.ndarray, fs_hz: float) -> dict[str, float]:
    """R, S and T amplitudes of each lead (mV, against the level before QRS) on the recording's median beat.

    R and S are the highest and lowest value within 60 ms of QRS's middle, T the extreme value from 120 to 420 ms after.
    Empty where there are fewer than three beats.
    """
    peaks = find_qrs(signal_mv, fs_hz)
    before, after = round(0.30 * fs_hz), round(0.45 * fs_hz)
    peaks = peaks[(peaks >= before) & (peaks + after < signal_mv.shape[1])]
    if len(peaks) < 3:
        return {}
    beat = np.median([signal_mv[:, p - before : p + after] for p in peaks], axis=0)

    def part(start_s: float, end_s: float) -> np.ndarray:
        return beat[:, before + round(start_s * fs_hz) : before + round(end_s * fs_hz) + 1]

    level = np.median(part(-0.10, -0.06), axis=1, keepdims=True)
    qrs, late = part(-0.06, 0.06) - level, part(0.12, 0.42) - level
    t = late[np.arange(len(late)), np.abs(late).argmax(1)]
    values = {}
    for k, lead in enumerate(LEADS):
        values |= {f"r_mv_{lead}": qrs[k].max(), f"s_mv_{lead}": qrs[k].min(), f"t_mv_{lead}": t[k]}
    return {name: float(value) for name, value in values.items()}


def table(rows: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """Quantiles of each measurement over recordings."""
    collected: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            collected.setdefault(name, []).append(value)
    return {name: quantiles(values) for name, values in collected.items()}
