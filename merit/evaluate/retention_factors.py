"""Factors of a recording (intervals, axis, waves) measured on its beats, and the form in which decoders predict them.

Beats and, lead by lead, the onset of P and the end of T are NeuroKit2's (Makowski et al. 2021; by peak prominence:
Emrich et al. 2024, its fastest method). Onset and end of QRS are ours (`qrs_extent`): the library's own hardly follow
manual ones, by any of its methods. Marks by hand (`retention.manual_marks`) go through the same functions as the
library's, so that the two differ by the marks alone. Columns are named as `synthetic.truth` names them.

Legend: N recordings, L leads, T samples, B beats, S sources of marks (leads, or one signal made of them), W samples of
a beat. Times are seconds; NaN: not marked, not measured.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Self

import numpy as np
import pandas as pd
from tqdm import tqdm

from merit.data.preprocess import DERIVED, resample
from merit.data.recording import LEADS
from merit.parallel import ordered_map

# ------------------------------------------------------------------------------------------------ marks and intervals

FEWEST_BEATS = 2  # beats with a mark under which nothing follows from it
SHARE = 0.5  # share of the beats that must have a mark: PR means nothing where half of the beats have no P wave
STEADY_PR_MS = 10.0
"""Median deviation of PR from its median, over beats, above which it is not measured: conducted beats keep their PR,
and what a delineator takes for P where there is none does not. Of 10 and 20 ms, tried on LUDB, 10 invents fewer."""
CONCEIVABLE_MS = {"pr": (60.0, 450.0), "qrs": (40.0, 250.0), "qt": (180.0, 700.0)}
"""Outside these a delineation has failed."""


@dataclass(frozen=True)
class Marks:
    """Marks of the beats of one recording, by a library or by hand."""

    r_s: np.ndarray
    """float64 [B]: the beats, ascending."""
    p_on_s: np.ndarray
    """float64 [S, B], as are all below."""
    qrs_on_s: np.ndarray
    qrs_off_s: np.ndarray
    t_off_s: np.ndarray

    @classmethod
    def none(cls) -> Self:
        """Marks of a recording without beats."""
        empty = np.zeros((1, 0))
        return cls(np.zeros(0), empty, empty, empty, empty)

    def within(self, start_s: float, end_s: float) -> Self:
        """The marks of the beats of this span."""
        inside = (self.r_s >= start_s) & (self.r_s <= end_s)
        waves = (self.p_on_s, self.qrs_on_s, self.qrs_off_s, self.t_off_s)
        return type(self)(self.r_s[inside], *(times[:, inside] for times in waves))


def over_sources(times_s: np.ndarray) -> np.ndarray:
    """[S, B] -> [B]: the median of the sources that have a mark."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of beats that no source marks: NaN is meant
        return np.nanmedian(times_s, axis=0)


def over_beats(values: np.ndarray) -> float:
    """[B] -> their median; NaN where fewer than `SHARE` of the beats, or `FEWEST_BEATS`, have one."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) >= max(FEWEST_BEATS, SHARE * len(values)) else np.nan


def beat_intervals(marks: Marks) -> dict[str, float]:
    """pr_ms, qrs_ms and qt_ms, each the median over beats; heart_rate_bpm from the mean distance of beats, rr_rmssd_ms
    from their successive differences. NaN: not measured.
    """
    begin, end = over_sources(marks.qrs_on_s), over_sources(marks.qrs_off_s)
    p_ms = 1000 * (begin - over_sources(marks.p_on_s))
    length = {
        "pr": over_beats(p_ms),
        "qrs": over_beats(1000 * (end - begin)),
        "qt": over_beats(1000 * (over_sources(marks.t_off_s) - begin)),
    }
    if over_beats(np.abs(p_ms - length["pr"])) > STEADY_PR_MS:
        length["pr"] = np.nan
    for name, (low, high) in CONCEIVABLE_MS.items():
        if not low <= length[name] <= high:
            length[name] = np.nan
    rr = np.diff(marks.r_s)
    return {f"{name}_ms": value for name, value in length.items()} | {
        "heart_rate_bpm": float(60 / rr.mean()) if len(rr) >= FEWEST_BEATS else np.nan,
        "rr_rmssd_ms": float(1000 * np.sqrt((np.diff(rr) ** 2).mean())) if len(rr) > FEWEST_BEATS else np.nan,
    }


# ---------------------------------------------------------------------------------------------------- the typical beat

BEFORE_S, AFTER_S = 0.25, 0.6  # reach of a beat around its mark
LEVEL_S = 0.02  # stretch before QRS whose mean is zero volts
AFTER_J_S = 0.06  # where ST is read, and from where T is looked for, after the end of QRS (as in `synthetic.truth`)
QRS_REACH_S = 0.15  # farthest that QRS reaches from the mark of its beat, either way
QRS_SHARE = 0.2
"""Share of its peak above which the speed of voltage is that of QRS. Of 5, 10, 15, 20 and 25 %, tried on LUDB, the one
that agrees best with manual marks; 15 and 25 % agree nearly as well."""
REST_SHARE = 0.2  # share of the samples, the slowest, whose median speed is that of noise
WAVES = ("r", "s", "t", "st")
NO_VOLTAGES = {"axis_deg": np.nan} | {f"{wave}_mv_{lead}": np.nan for wave in WAVES for lead in LEADS}


def typical_beat(signal: np.ndarray, r_s: np.ndarray, fs_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Seconds [W] from the mark of a beat, from `BEFORE_S` before it, and the median over beats of signal [L, T] there,
    float64 [L, W]; NaN without whole beats.
    """
    before, after = round(BEFORE_S * fs_hz), round(AFTER_S * fs_hz)
    t = np.arange(before + after) / fs_hz - before / fs_hz
    at = np.rint(r_s * fs_hz).astype(int)
    at = at[(at >= before) & (at + after <= signal.shape[1])]
    if not len(at):
        return t, np.full((len(signal), len(t)), np.nan)
    places = at[:, None] + np.arange(-before, after)
    return t, np.median(signal[:, places].astype(np.float64), axis=1)


def qrs_extent(t: np.ndarray, beat: np.ndarray, fs_hz: float) -> tuple[float, float]:
    """Onset and end of QRS in seconds from the mark, of a `typical_beat`; NaN for none or a flat one.

    First and last time within `QRS_REACH_S` at which the speed of voltage over leads (root of the sum of squares) lies
    more than `QRS_SHARE` of the way from noise to its peak.
    """
    near = np.abs(t) < QRS_REACH_S
    speed = np.sqrt((np.gradient(beat, axis=1) ** 2).sum(axis=0))[near]
    rest = np.median(np.sort(speed)[: max(1, round(REST_SHARE * len(speed)))])
    above = np.flatnonzero(speed > rest + QRS_SHARE * (speed.max() - rest))
    if not len(above):
        return np.nan, np.nan
    return float(t[near][0] + above[0] / fs_hz), float(t[near][0] + above[-1] / fs_hz)


def voltages(signal_mv: np.ndarray, fs_hz: float, marks: Marks) -> dict[str, float]:
    """axis_deg, and r, s, t and st of every lead in the unit of signal_mv [L, T]; NaN where marks are missing.

    The axis is that of the area of QRS in I and aVF (aVF is drawn smaller than I by √3 / 2).
    """
    begin, end = over_sources(marks.qrs_on_s), over_sources(marks.qrs_off_s)
    on_s, off_s = over_beats(begin - marks.r_s), over_beats(end - marks.r_s)
    t_end_s = over_beats(over_sources(marks.t_off_s) - marks.r_s)
    t, beat = typical_beat(signal_mv, marks.r_s, fs_hz)
    level = (t >= on_s - LEVEL_S) & (t < on_s)
    inside, late = (t >= on_s) & (t <= off_s), (t > off_s + AFTER_J_S) & (t < t_end_s)
    if not level.any() or not inside.any() or np.isnan(beat).all():
        return dict(NO_VOLTAGES)
    beat = beat - beat[:, level].mean(axis=1, keepdims=True)
    area = beat[:, inside].sum(axis=1)
    x, y = area[LEADS.index("I")], area[LEADS.index("aVF")] * 2 / np.sqrt(3)
    measured = {"axis_deg": float(np.degrees(np.arctan2(y, x))) if x or y else np.nan}
    st = np.argmin(np.abs(t - (off_s + AFTER_J_S)))
    for lead, wave, after in zip(LEADS, beat, beat[:, late]):
        measured[f"r_mv_{lead}"] = max(float(wave[inside].max()), 0.0)
        measured[f"s_mv_{lead}"] = min(float(wave[inside].min()), 0.0)
        measured[f"t_mv_{lead}"] = float(after[np.abs(after).argmax()]) if late.any() else np.nan
        measured[f"st_mv_{lead}"] = float(wave[st])
    return measured


# ---------------------------------------------------------------------------------------------- delineation (NeuroKit2)

INDEPENDENT = [k for k, lead in enumerate(LEADS) if lead not in DERIVED]
"""Leads that marks are looked for in; the other four are sums of I and II."""
ANALYSIS_HZ = 500.0
"""Rate at which marks are looked for, whatever the recording's: the library rounds them to whole samples."""
LEAST_SPREAD = 1e-3  # standard deviation (mV) under which a lead is flat and gives no marks
LIBRARY_MARKS = ("ECG_P_Onsets", "ECG_R_Onsets", "ECG_R_Offsets", "ECG_T_Offsets")


@cache
def neurokit() -> ModuleType:
    """The library, imported when it is first needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports scipy.misc, of which it uses nothing here
        import neurokit2
    return neurokit2


def delineate(signal_mv: np.ndarray, fs_hz: float, method: str = "prominence", own_qrs: bool = True) -> Marks:
    """Marks of signal_mv [12, T] at fs_hz; `Marks.none` where no beats are found. method: prominence or dwt.

    own_qrs: QRS by `qrs_extent`, else by the library. Scale and offset of a lead do not matter.
    """
    signal = resample(signal_mv[INDEPENDENT].astype(np.float64), fs_hz, ANALYSIS_HZ)
    signal = signal[signal.std(axis=1) > LEAST_SPREAD]
    if not len(signal):
        return Marks.none()
    rate = int(ANALYSIS_HZ)
    cleaned = np.array([neurokit().ecg_clean(lead, sampling_rate=rate) for lead in signal])
    cleaned /= cleaned.std(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the mean length of no QRS; of peaks without prominence
        try:
            _, peaks = neurokit().ecg_peaks(np.sqrt((cleaned**2).sum(axis=0)), sampling_rate=rate)
        except (ValueError, IndexError, KeyError):  # what its search runs into where nothing looks like a beat
            return Marks.none()
        beats = np.asarray(peaks["ECG_R_Peaks"], dtype=int)
        if len(beats) <= FEWEST_BEATS:
            return Marks.none()
        upright = np.where(np.median(cleaned[:, beats], axis=1) < 0, -1.0, 1.0)  # the library looks for upright waves
        samples = np.full((len(cleaned), len(LIBRARY_MARKS), len(beats)), np.nan)
        for row, lead, sign in zip(samples, cleaned, upright):
            try:
                _, waves = neurokit().ecg_delineate(lead * sign, beats, sampling_rate=rate, method=method)
            except (ValueError, IndexError, KeyError, TypeError):  # as above
                continue
            columns = [np.asarray(waves[name], dtype=np.float64) for name in LIBRARY_MARKS]
            # A mark at sample 0 is dropped by the library, and those after it would stand beside the wrong beats.
            if all(len(column) == len(beats) for column in columns):
                row[:] = columns
    r_s = beats / ANALYSIS_HZ
    p_on, qrs_on, qrs_off, t_off = (samples / ANALYSIS_HZ).swapaxes(0, 1)
    if own_qrs:
        on_s, off_s = qrs_extent(*typical_beat(cleaned, r_s, ANALYSIS_HZ), ANALYSIS_HZ)
        qrs_on, qrs_off = (r_s + on_s)[None], (r_s + off_s)[None]
    return Marks(r_s, p_on, qrs_on, qrs_off, t_off)


def measure_recording(signal_mv: np.ndarray, fs_hz: float) -> dict[str, float]:
    """The columns that `continuous` reads, of one recording [L, T], and n_beats; NaN: not measured."""
    marks = delineate(signal_mv, fs_hz)
    return {"n_beats": float(len(marks.r_s))} | beat_intervals(marks) | voltages(signal_mv, fs_hz, marks)


def measure_recordings(signal_uv: np.ndarray, fs_hz: float, workers: int, progress: bool = True) -> pd.DataFrame:
    """One row per recording of signal_uv int16 [N, L, T], measured in `workers` processes."""
    signals_mv = (np.array(signal) / 1000.0 for signal in signal_uv)
    rows = ordered_map(partial(measure_recording, fs_hz=fs_hz), signals_mv, workers)
    bar = {"total": len(signal_uv), "desc": "delineating", "unit": "rec", "disable": not progress, "mininterval": 1.0}
    return pd.DataFrame(list(tqdm(rows, **bar)))


# --------------------------------------------------------------------------------------- leads on one scale (Einthoven)

MOST_RESIDUAL = 0.05
"""Largest root mean square of II − I − III, as a share of the limb leads' own, under which Einthoven's law holds."""
SCALE_CHUNK = 256


def on_one_scale(signal_uv: np.ndarray) -> np.ndarray:
    """bool [N]: whether II = I + III in signal_uv [N, 12, T], apart from offsets.

    A recording whose leads were each scaled by themselves (as some copies of PTB-XL are) breaks the law; its intervals
    are sound, its axis and the proportions of its leads are not.
    """
    holds = [np.zeros(0, bool)]
    for start in range(0, len(signal_uv), SCALE_CHUNK):
        limb = np.asarray(signal_uv[start : start + SCALE_CHUNK, :3])  # I, II and III come first in LEADS
        centred = limb - limb.mean(axis=2, dtype=np.float64, keepdims=True)
        residual = centred[:, 1] - centred[:, 0] - centred[:, 2]
        holds.append((residual**2).mean(axis=1) <= MOST_RESIDUAL**2 * (centred**2).mean(axis=(1, 2)))
    return np.concatenate(holds)


# --------------------------------------------------------------------------------------------------- factors as targets

LEAST_MV = 1e-3  # size of QRS under which it counts as this
LEAST_MS = 1.0  # variability under which it counts as this, so that it has a logarithm


def continuous(measured: pd.DataFrame) -> dict[str, np.ndarray]:
    """Factor -> float64 [N, K] from one row per recording (ms, degrees, mV); NaN in a row without the factor.

    K numbers belong together, such as the 12 leads. Durations in ms; the axis as its cosine and sine; beat-to-beat
    variability as the logarithm of RMSSD in ms. Every recording is divided by its own spread before an encoder sees it,
    so absolute voltage is lost: QRS (peak to peak), T and ST of each lead are shares of the size of QRS over the leads
    (root of the mean square).
    """

    def columns(*names: str) -> np.ndarray:
        return measured[list(names)].to_numpy(np.float64)

    r, s, t, st = (columns(*(f"{wave}_mv_{lead}" for lead in LEADS)) for wave in WAVES)
    axis = np.radians(measured["axis_deg"].to_numpy(np.float64))
    size = np.maximum(np.sqrt(((r - s) ** 2).mean(axis=1, keepdims=True)), LEAST_MV)
    return {
        "heart_rate": columns("heart_rate_bpm"),
        "pr": columns("pr_ms"),
        "qrs": columns("qrs_ms"),
        "qt": columns("qt_ms"),
        "axis": np.column_stack([np.cos(axis), np.sin(axis)]),
        "variability": np.log(np.maximum(columns("rr_rmssd_ms"), LEAST_MS)),
        "qrs_leads": (r - s) / size,
        "t_leads": t / size,
        "st_leads": st / size,
    }
