"""How reliable measured factors are: LUDB's recordings delineated, against the marks that cardiologists set by hand.

A measurement that does not agree with the truth cannot be predicted from it either, so this is the ceiling for anybody
who predicts the measured factors. LUDB (Kalyakulina et al. 2020) is read in raw units: the gains in its headers differ
from lead to lead, while raw units satisfy I + III = II. So an axis can be compared and a voltage cannot.

Legend: N recordings, L leads, B beats, K numbers of a factor. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from merit.data.preprocess import fix_length, repair_gaps, resample
from merit.data.recording import LEADS
from merit.data.wfdb_io import read_annotation, read_raw
from merit.evaluate.retention import number
from merit.evaluate.retention_factors import LEAST_MS, Marks, delineate, intervals, voltages
from merit.intervals import weights_of
from merit.parallel import ordered_map

FS_HZ = 500.0
"""LUDB's rate."""
DURATION_S = 10.0
MARGIN_S = 0.2
"""Manual marks leave out the first and last beats: measured are those between the outermost marks, this much added."""
SAME_BEAT_S = 0.2
"""QRS marks of two leads that lie closer are of one beat."""
WAVE_REACH_S = 0.5
"""A P wave at most this long before a QRS, or a T wave after it, belongs to it."""


class Delineator(NamedTuple):
    """How marks are made: at which rate, by which of the library's methods, and whose QRS it is."""

    fs_hz: float
    method: str = "prominence"
    own_qrs: bool = True


DELINEATORS = (Delineator(100.0), Delineator(500.0), Delineator(100.0, own_qrs=False))
"""What is measured on real recordings; at LUDB's own rate; and with the library's own marks of QRS."""

# ------------------------------------------------------------------------------------------------------- manual marks


def record_names(root: Path) -> list[str]:
    """Records of LUDB under `root`, in order of their numbers."""
    return sorted((path.stem for path in (root / "data").glob("[!.]*.hea")), key=int)


def files(root: Path) -> Iterator[Path]:
    """All files that the agreement depends on."""
    for name in record_names(root):
        yield from sorted((root / "data").glob(f"{name}.*"))


def manual_marks(root: Path, name: str) -> Marks:
    """What the cardiologists marked in all leads of a record; beats are those with a QRS in at least one lead."""
    by_lead = [list(_waves(*read_annotation(str(root / "data"), name, lead.lower()))) for lead in LEADS]
    peaks = np.sort([peak_s for waves in by_lead for kind, _, peak_s, _ in waves if kind == "N"])
    if not len(peaks):
        return Marks.none()
    beats = np.split(peaks, np.flatnonzero(np.diff(peaks) > SAME_BEAT_S) + 1)
    r_s = np.array([np.median(beat) for beat in beats])
    p_on, qrs_on, qrs_off, t_off = times = np.full((4, len(LEADS), len(r_s)), np.nan)
    for lead, waves in enumerate(by_lead):
        for kind, on_s, peak_s, off_s in waves:
            after = int(np.searchsorted(r_s, peak_s))  # the first beat that is not before the wave
            if kind == "N":
                nearest = int(np.abs(r_s - peak_s).argmin())
                qrs_on[lead, nearest], qrs_off[lead, nearest] = on_s, off_s
            elif kind == "p" and after < len(r_s) and r_s[after] - peak_s <= WAVE_REACH_S:
                p_on[lead, after] = on_s
            elif kind == "t" and after and peak_s - r_s[after - 1] <= WAVE_REACH_S:
                t_off[lead, after - 1] = off_s
    return Marks(r_s, *times)


def _waves(samples: np.ndarray, symbols: list[str]) -> Iterator[tuple[str, float, float, float]]:
    """Kind (p, N for QRS, or t), onset, peak and end in seconds of the waves of one lead.

    A wave is a peak with an opening bracket before it and a closing one after; an end without its bracket is NaN.
    """
    for k, kind in enumerate(symbols):
        if kind in ("p", "N", "t"):
            on = samples[k - 1] if k and symbols[k - 1] == "(" else np.nan
            off = samples[k + 1] if k + 1 < len(symbols) and symbols[k + 1] == ")" else np.nan
            yield kind, on / FS_HZ, samples[k] / FS_HZ, off / FS_HZ


# ---------------------------------------------------------------------------------------------------------- agreement

FEWEST = 10
"""Recordings with both values under which nothing is said."""
COLUMNS = {
    "heart_rate": "heart_rate_bpm",
    "pr": "pr_ms",
    "qrs": "qrs_ms",
    "qt": "qt_ms",
    "axis": "axis_deg",
    "variability": "rr_rmssd_ms",
}
"""Factor -> its column, of those that marks give without a voltage scale."""
UNITS = {"heart_rate": "bpm", "axis": "°", "variability": "log ms"}
"""Unit of bias and spread where it is not ms."""


def measure_agreement(
    root: Path,
    delineators: Sequence[Delineator] = DELINEATORS,
    *,
    n_resamples: int,
    seed: int,
    workers: int,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """`agreement` on LUDB's records under `root`, one row per delineator and factor, with the delineator's fields."""
    names = record_names(root)
    rows: list[dict[str, Any]] = []
    for how in delineators:
        pairs = []
        with tqdm(total=len(names), desc=f"LUDB at {how.fs_hz:g} Hz", unit="rec", disable=not progress) as bar:
            for pair in ordered_map(partial(_measured_and_manual, root=root, how=how), names, workers):
                pairs.append(pair)
                bar.update()
        measured, manual = (pd.DataFrame(side) for side in zip(*pairs))
        rows += [how._asdict() | row for row in agreement(measured, manual, n_resamples, seed)]
    return rows


def _measured_and_manual(name: str, root: Path, how: Delineator) -> tuple[dict[str, float], dict[str, float]]:
    """Factors of one record over the same beats; the measured side is prepared as by `data.ingest`."""
    raw, manual = read_raw(str(root / "data"), name), manual_marks(root, name)
    stored = fix_length(resample(repair_gaps(raw)[0], FS_HZ, how.fs_hz), round(DURATION_S * how.fs_hz))
    marks = delineate(stored, how.fs_hz, how.method, how.own_qrs)
    if len(manual.r_s):
        marks = marks.within(manual.r_s[0] - MARGIN_S, manual.r_s[-1] + MARGIN_S)
    measured, by_hand = (
        intervals(found) | {"axis_deg": voltages(signal, fs_hz, found)["axis_deg"]}
        for found, signal, fs_hz in ((marks, stored, how.fs_hz), (manual, raw, FS_HZ))
    )
    return measured, by_hand


def agreement(measured: pd.DataFrame, manual: pd.DataFrame, n_resamples: int, seed: int) -> list[dict[str, Any]]:
    """One row per factor: bias and sd of measured minus manual and R², each with a 95 % interval over recordings.

    Both frames have one row per recording, in one order. n: with both values; n_manual: with a manual value;
    n_without: without; n_invented: of these, with a measured one.
    """
    picks = [np.flatnonzero(column) for column in weights_of(np.arange(len(manual)), n_resamples, seed).T]
    rows = []
    for name, column in COLUMNS.items():
        a, b = (frame[column].to_numpy(np.float64) for frame in (measured, manual))
        if name == "variability":
            a, b = (np.log(np.maximum(values, LEAST_MS)) for values in (a, b))
        known, both = np.isfinite(b), np.isfinite(a) & np.isfinite(b)
        drawn = [_compared(name, a[pick[both[pick]]], b[pick[both[pick]]]) for pick in picks if both.sum() >= FEWEST]
        by_number = np.array(drawn or [(np.nan,) * 3]).T
        rows.append(
            {"factor": name, "unit": UNITS.get(name, "ms")}
            | {"n": int(both.sum()), "n_manual": int(known.sum()), "n_without": int((~known).sum())}
            | {"n_invented": int((~known & np.isfinite(a)).sum())}
            | {key: number(values) for key, values in zip(("bias", "sd", "r2"), by_number)}
        )
    return rows


def _compared(name: str, measured: np.ndarray, manual: np.ndarray) -> tuple[float, float, float]:
    """Bias, sd and R² of a factor; an angle's differences go around the circle, its R² is of cosine and sine."""
    difference = measured - manual
    if name == "axis":
        difference = (difference + 180) % 360 - 180
        measured, manual = (np.column_stack([np.cos(a), np.sin(a)]) for a in map(np.radians, (measured, manual)))
    return difference.mean(), difference.std(), explained(measured, manual)


def explained(measured: np.ndarray, manual: np.ndarray) -> float:
    """R² of measured [N] or [N, K] regressed on manual (ordinary least squares); NaN where one of them does not vary.

    So neither an offset nor a scale counts against a measurement: a decoder would learn both.
    """
    y, x = (a.reshape(len(a), -1) - a.reshape(len(a), -1).mean(axis=0) for a in (measured, manual))
    if not (y**2).sum() > 0 or not (x**2).sum() > 0:
        return np.nan
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1 - (left**2).sum() / (y**2).sum())
