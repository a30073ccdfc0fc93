"""Marks of a recording's beats by NeuroKit2 (Makowski et al. 2021); the only module that knows it.

Beats and, lead by lead, the begin of P and the end of T are the library's (by peak prominence: Emrich et al. 2024, its
fastest method). Where QRS begins and ends is ours (`beat.qrs_extent`): the library's own marks of it hardly follow
manual ones, by any of its methods. Legend: T samples, B beats.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from functools import cache
from types import ModuleType

import numpy as np

from merit.data.leads import DERIVED
from merit.data.preprocess import resample
from merit.data.recording import LEADS
from merit.evaluate.kept.beat import qrs_extent, typical_beat
from merit.evaluate.kept.marks import FEWEST_BEATS, Marks

INDEPENDENT = [k for k, lead in enumerate(LEADS) if lead not in DERIVED]
"""Leads that marks are looked for in; the other four are sums of I and II."""
ANALYSIS_HZ = 500.0
"""Rate at which marks are looked for, whatever the recording's: the library rounds them to whole samples."""
LEAST_SPREAD = 1e-3
"""Standard deviation (mV) under which a lead is flat and gives no marks."""
METHODS = ("prominence", "dwt")
MARKS = ("ECG_P_Onsets", "ECG_R_Onsets", "ECG_R_Offsets", "ECG_T_Offsets")


@cache
def _library() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports scipy.misc, of which it uses nothing here
        import neurokit2
    return neurokit2


def version() -> str:
    """The library's version, without importing it."""
    return importlib.metadata.version("neurokit2")


def delineate(signal_mv: np.ndarray, fs_hz: float, method: str = "prominence", own_qrs: bool = True) -> Marks:
    """Marks of signal_mv [12, T] at fs_hz; `Marks.none` where no beats are found. method: one of `METHODS`.

    own_qrs: QRS by `beat.qrs_extent`, else by the library. Scale and offset of a lead do not matter.
    """
    signal = resample(signal_mv[INDEPENDENT].astype(np.float64), fs_hz, ANALYSIS_HZ)
    signal = signal[signal.std(axis=1) > LEAST_SPREAD]
    if not len(signal):
        return Marks.none()
    cleaned = np.array([_library().ecg_clean(lead, sampling_rate=int(ANALYSIS_HZ)) for lead in signal])
    cleaned /= cleaned.std(axis=1, keepdims=True)
    beats = _beats(np.sqrt((cleaned**2).sum(axis=0)))
    if len(beats) <= FEWEST_BEATS:
        return Marks.none()
    signs = np.where(np.median(cleaned[:, beats], axis=1) < 0, -1.0, 1.0)  # the library looks for upright waves
    found = np.array([_lead(lead * sign, beats, method) for lead, sign in zip(cleaned, signs)]) / ANALYSIS_HZ
    r_s = beats / ANALYSIS_HZ
    p_on, qrs_on, qrs_off, t_off = found.swapaxes(0, 1)
    if own_qrs:
        on_s, off_s = qrs_extent(typical_beat(cleaned, r_s, ANALYSIS_HZ), ANALYSIS_HZ)
        qrs_on, qrs_off = (r_s + on_s)[None], (r_s + off_s)[None]
    return Marks(r_s, p_on, qrs_on, qrs_off, t_off)


def _beats(size: np.ndarray) -> np.ndarray:
    """int [B]: samples of the beats in the size over leads [T]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of the mean length of no QRS
            _, found = _library().ecg_peaks(size, sampling_rate=int(ANALYSIS_HZ))
    except (ValueError, IndexError, KeyError):  # what its search runs into where nothing looks like a beat
        return np.zeros(0, dtype=int)
    return np.asarray(found["ECG_R_Peaks"], dtype=int)


def _lead(lead: np.ndarray, beats: np.ndarray, method: str) -> np.ndarray:
    """float64 [4, B]: samples of `MARKS` in one lead, NaN where there is none."""
    nothing = np.full((len(MARKS), len(beats)), np.nan)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of peaks without prominence; they become NaN
            _, found = _library().ecg_delineate(lead, beats, sampling_rate=int(ANALYSIS_HZ), method=method)
    except (ValueError, IndexError, KeyError, TypeError):  # as above
        return nothing
    columns = [np.asarray(found[name], dtype=np.float64) for name in MARKS]
    # A mark at sample 0 is dropped by the library, and those after it would stand beside the wrong beats.
    return np.array(columns) if all(len(column) == len(beats) for column in columns) else nothing
